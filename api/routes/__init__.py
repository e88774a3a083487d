"""The endpoints; thin."""
