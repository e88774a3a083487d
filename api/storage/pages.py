"""Cursor paging, newest first."""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..errors import RequestError
from .tables import EvaluationRow, ModelRow, SamplesRow

Row = TypeVar("Row", ModelRow, SamplesRow, EvaluationRow)


def page(
    session: Session, table: type[Row], cursor: str | None, limit: int
) -> tuple[list[Row], str | None]:
    """Up to ``limit`` rows older than ``cursor``, and the cursor of the next page.

    Raises:
        RequestError: ``cursor`` is none that was given out.
    """
    query = select(table).order_by(table.sequence.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(table.sequence < _number(cursor))
    rows = list(session.scalars(query))
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], str(rows[limit - 1].sequence)


def _number(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise RequestError(
            "The cursor is not valid.",
            remedy="Use the `next` of the page before, unchanged.",
        )
    return int(cursor)
