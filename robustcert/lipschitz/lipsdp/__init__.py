"""LipSDP on any graph: ellipsoids pushed through activations, one stage at a time."""
