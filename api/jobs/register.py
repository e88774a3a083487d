"""Evaluations as their owners see them: submitted, looked at, cancelled."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from robustcert.client.wire import (
    EvaluationPage,
    EvaluationRequest,
    EvaluationStatus,
    Problem,
    Status,
)

from ..errors import (
    BusyError,
    ConflictError,
    IdempotencyConflictError,
    NoReportError,
    NoReportYetError,
    NotFoundError,
)
from ..storage.builtin import builtin_samples
from ..storage.database import Database
from ..storage.pages import page
from ..storage.tables import EvaluationRow, IdempotencyRow, ModelRow, SamplesRow
from .views import status_view


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The sample set that a request names."""

    id: str
    sha256: str | None
    name: str


class Register:
    """The evaluations.

    Args:
        database: holds the rows.
        queue_limit: evaluations that may wait.
    """

    def __init__(self, database: Database, queue_limit: int) -> None:
        self._database = database
        self._queue_limit = queue_limit

    def submit(self, request: EvaluationRequest, key: str | None) -> EvaluationStatus:
        """Accept an evaluation; the same ``key`` and request give the same one.

        Raises:
            InvalidThreatModelError: the box is empty.
            NotFoundError: no such model or sample set.
            IdempotencyConflictError: the key came with another request before.
            BusyError: the queue is full.
        """
        request.threat_model.sweep()
        digest = hashlib.sha256(request.model_dump_json().encode()).hexdigest()
        with self._database.write() as session:
            known = _known(session, key, digest)
            if known is not None:
                return status_view(session, known)
            self._check_queue(session)
            row = _new_row(session, request)
            session.add(row)
            session.flush()
            if key is not None:
                session.add(
                    IdempotencyRow(
                        key=key,
                        digest=digest,
                        evaluation_id=row.id,
                        created=row.created,
                    )
                )
            return status_view(session, row)

    def get(self, evaluation_id: str) -> EvaluationStatus:
        """One evaluation.

        Raises:
            NotFoundError: there is none with this id.
        """
        with self._database.read() as session:
            return status_view(session, _row(session, evaluation_id))

    def page(self, cursor: str | None, limit: int) -> EvaluationPage:
        """Evaluations, newest first."""
        with self._database.read() as session:
            rows, following = page(session, EvaluationRow, cursor, limit)
            items = [status_view(session, row) for row in rows]
        return EvaluationPage(items=items, next=following)

    def cancel(self, evaluation_id: str) -> EvaluationStatus:
        """Cancel at once what waits; mark what runs, for the dispatcher to end.

        Raises:
            NotFoundError: there is none with this id.
            ConflictError: it is done or has failed.
        """
        with self._database.write() as session:
            row = _row(session, evaluation_id)
            if row.status in (Status.DONE, Status.FAILED):
                raise ConflictError(
                    f"Evaluation {evaluation_id} is over: {row.status}.",
                    remedy="There is nothing left to cancel.",
                )
            if row.status == Status.QUEUED:
                row.status = Status.CANCELLED
                row.finished = time.time()
            row.cancel_requested = True
            session.flush()
            return status_view(session, row)

    def document_hash(self, evaluation_id: str) -> str:
        """Hash of the report document of an evaluation that is done.

        Raises:
            NotFoundError: there is no such evaluation.
            NoReportYetError: it waits or runs.
            NoReportError: it failed or was cancelled.
        """
        with self._database.read() as session:
            row = _row(session, evaluation_id)
        if row.document_sha256 is not None:
            return row.document_sha256
        if row.status.final:
            raise _no_report(row)
        raise NoReportYetError(f"Evaluation {evaluation_id} is {row.status}.")

    def _check_queue(self, session: Session) -> None:
        waiting = select(func.count()).where(EvaluationRow.status == Status.QUEUED)
        if (session.scalar(waiting) or 0) >= self._queue_limit:
            raise BusyError(f"{self._queue_limit} evaluations are waiting already.")


def _no_report(row: EvaluationRow) -> NoReportError:
    """Why a final evaluation has no report, in the words of its own problem."""
    ended = f"Evaluation {row.id} ended as {row.status}"
    if row.problem is None:
        return NoReportError(f"{ended}.")
    problem = Problem.model_validate(row.problem)
    return NoReportError(f"{ended}: {problem.detail}", remedy=problem.remedy)


def _known(session: Session, key: str | None, digest: str) -> EvaluationRow | None:
    """The evaluation that ``key`` made before."""
    found = None if key is None else session.get(IdempotencyRow, key)
    if found is None:
        return None
    if found.digest != digest:
        raise IdempotencyConflictError(
            "This Idempotency-Key came with another request before."
        )
    return _row(session, found.evaluation_id)


def _new_row(session: Session, request: EvaluationRequest) -> EvaluationRow:
    model = session.scalar(select(ModelRow).where(ModelRow.id == request.model))
    if model is None:
        raise NotFoundError(
            f"There is no model {request.model!r}.",
            remedy="Make one first: POST /v1/models.",
        )
    samples = _chosen(session, request.samples.id)
    return EvaluationRow(
        id=f"e-{secrets.token_hex(10)}",
        request=request.model_dump(mode="json"),
        model_id=model.id,
        model_sha256=model.sha256,
        model_name=model.name,
        samples_id=samples.id,
        samples_sha256=samples.sha256,
        samples_name=samples.name,
        status=Status.QUEUED,
        created=time.time(),
    )


def _chosen(session: Session, samples_id: str) -> _Chosen:
    for builtin in builtin_samples():
        if builtin.id == samples_id:
            return _Chosen(builtin.id, None, builtin.name)
    row = session.scalar(select(SamplesRow).where(SamplesRow.id == samples_id))
    if row is None:
        raise NotFoundError(
            f"There is no sample set {samples_id!r}.",
            remedy="Make one first: POST /v1/samples; or name a built-in set.",
        )
    return _Chosen(row.id, row.sha256, row.name)


def _row(session: Session, evaluation_id: str) -> EvaluationRow:
    row = session.scalar(select(EvaluationRow).where(EvaluationRow.id == evaluation_id))
    if row is None:
        raise NotFoundError(f"There is no evaluation {evaluation_id!r}.")
    return row
