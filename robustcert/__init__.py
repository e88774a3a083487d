"""Robustness evaluation and certification of trained PyTorch classifiers."""
