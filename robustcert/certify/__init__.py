"""Certifiers: what is proved about each input."""
