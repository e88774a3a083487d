"""The ONNX front door: a walk over the operators, and a rule for each of them."""
