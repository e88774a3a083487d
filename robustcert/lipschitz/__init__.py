"""Lipschitz bounds: one file a method, one row in the registry."""
