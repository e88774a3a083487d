"""What survives a restart: rows in a database, bytes in files."""
