"""Common corruptions: what inputs meet without an adversary, at five severities."""
