"""From torch to ONNX: operators, graph, parity, bundle."""
