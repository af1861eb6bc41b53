"""Trained networks as ONNX graphs and bundles."""
