"""Branch and bound: settles a ball for piecewise linear nets, given time."""
