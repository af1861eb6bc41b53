"""Unroll: sequences from raw data to scheduled ONNX predictions."""

__version__ = "0.1.0"
