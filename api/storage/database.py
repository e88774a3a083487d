"""One database, from many threads: short reads, and writes one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.orm import Session

from .tables import Table

BUSY_TIMEOUT_MS = 30_000
_WRITES = "robustcert_writes"
_MIGRATIONS = Path(__file__).resolve().parent / "migrations"


class Database:
    """The engine and its two kinds of transaction.

    Args:
        url: a SQLAlchemy URL.
    """

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url)
        self._writer = self._engine.execution_options(**{_WRITES: True})
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)

    @property
    def engine(self) -> Engine:
        """The engine, for migrations and their tests."""
        return self._engine

    def migrate(self) -> None:
        """Bring the tables to the newest migration, all of it or nothing."""
        with self._writer.begin() as connection:
            command.upgrade(migration_config(connection), "head")

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A consistent view; nothing is written."""
        with Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that holds the write lock from its start.

        Taking the lock at the first write instead would let two readers both want to
        become writers, which SQLite answers with an error rather than by waiting.
        """
        with Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def migration_config(connection: Connection) -> Config:
    """Alembic's configuration for ``connection``; there is no ini file to ship."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    config.attributes["metadata"] = Table.metadata
    return config


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - DBAPI connections have no common type
    # The driver's own BEGIN comes too late; _begin_sqlite sends it instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
