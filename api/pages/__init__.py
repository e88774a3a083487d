"""The pages for people; each has a JSON twin under /v1."""
