"""The model read as layers."""
