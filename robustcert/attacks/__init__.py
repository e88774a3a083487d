"""Attacks, and the verification of every adversarial example."""
