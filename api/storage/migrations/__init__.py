"""Alembic's scripts; run at every start, each revision once."""
