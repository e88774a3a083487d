"""Report formats: one file a format, one row in the registry."""
