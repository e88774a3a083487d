"""Runs the revisions on the connection that the service hands over."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=context.config.attributes["metadata"],
    # SQLite cannot alter most of a table: Alembic copies it instead.
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
