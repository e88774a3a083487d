"""The service: HTTP in front, evaluations in child processes behind."""
