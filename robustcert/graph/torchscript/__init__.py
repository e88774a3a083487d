"""The TorchScript front door: a walk over the graph, and a rule for each operator."""
