"""Experiments of papers, run anew: data, trainings, evaluations and their tables."""
