"""Randomized smoothing: statements about the smoothed model, never about the base."""
