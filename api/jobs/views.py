"""Rows as the documents that travel."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from robustcert.client.wire import (
    EvaluatedModel,
    EvaluatedSamples,
    EvaluationRequest,
    EvaluationStatus,
    Problem,
    ProgressView,
    Status,
)

from ..storage.tables import EvaluationRow


def status_view(session: Session, row: EvaluationRow) -> EvaluationStatus:
    """The evaluation in ``row``, with its place in the queue."""
    return EvaluationStatus(
        id=row.id,
        status=row.status,
        model=EvaluatedModel(
            id=row.model_id, sha256=row.model_sha256, name=row.model_name
        ),
        samples=EvaluatedSamples(
            id=row.samples_id, sha256=row.samples_sha256, name=row.samples_name
        ),
        request=EvaluationRequest.model_validate(row.request),
        position=_position(session, row),
        progress=ProgressView(
            stage=row.stage, done=row.done, total=row.total, note=row.note
        ),
        attempt=row.attempt,
        problem=None if row.problem is None else Problem.model_validate(row.problem),
        created=_moment(row.created),
        started=None if row.started is None else _moment(row.started),
        finished=None if row.finished is None else _moment(row.finished),
    )


def _position(session: Session, row: EvaluationRow) -> int | None:
    if row.status != Status.QUEUED:
        return None
    ahead = select(func.count()).where(
        EvaluationRow.status == Status.QUEUED, EvaluationRow.sequence < row.sequence
    )
    return 1 + (session.scalar(ahead) or 0)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
