"""What we say: frozen records, torch-free."""
