"""Leases: who runs what, and until when that is believed.

A lease carries a fencing number. Every write on behalf of a run names it, so a run that
lost its lease (its process slept, its evaluation was given to another) changes nothing.
The attempt is counted before it starts: a run that takes the whole service down is
tried three times, not for ever.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from robustcert.client.wire import EvaluationRequest, Problem, Status
from robustcert.results.plain_text import plain_text
from robustcert.results.progress import Progress

from ..errors import ServiceFaultError
from ..problems import problem_of
from ..storage.database import Database
from ..storage.tables import EvaluationRow

LEASE_SECONDS = 15.0
MOST_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Lease:
    """The right to run one evaluation.

    Attributes:
        evaluation_id: which one.
        fence: the lease's number among those of this evaluation.
        request: what was asked for.
        model_sha256: of the model's bytes.
        samples_sha256: of the sample file; ``None`` for a built-in set.
        samples_name: for the report.
    """

    evaluation_id: str
    fence: int
    request: EvaluationRequest
    model_sha256: str
    samples_sha256: str | None
    samples_name: str


class Queue:
    """The evaluations as the dispatcher sees them; safe from several threads.

    Args:
        database: holds the rows.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def lease(self) -> Lease | None:
        """Take the evaluation that has waited longest; ``None`` where none waits."""
        with self._database.read() as session:
            if session.scalar(_waiting()) is None:
                return None  # an idle service takes no write lock
        with self._database.write() as session:
            row = session.scalar(_waiting().with_for_update(skip_locked=True))
            if row is None:
                return None
            row.status = Status.RUNNING
            row.attempt += 1
            row.fence += 1
            row.lease_until = time.time() + LEASE_SECONDS
            row.started = row.started or time.time()
            return Lease(
                row.id,
                row.fence,
                EvaluationRequest.model_validate(row.request),
                row.model_sha256,
                row.samples_sha256,
                row.samples_name,
            )

    def waiting(self) -> set[str]:
        """Ids of the evaluations that wait."""
        asked = select(EvaluationRow.id).where(EvaluationRow.status == Status.QUEUED)
        with self._database.read() as session:
            return set(session.scalars(asked))

    def renew(self, leases: Iterable[Lease]) -> list[Lease]:
        """Extend ``leases``; those that are lost come back."""
        until = time.time() + LEASE_SECONDS
        with self._database.write() as session:
            return [
                lease
                for lease in leases
                if not _change(session, lease, lease_until=until)
            ]

    def is_cancelled(self, lease: Lease) -> bool:
        """Whether the evaluation's owner has cancelled it."""
        with self._database.read() as session:
            asked = select(EvaluationRow.cancel_requested).where(_held(lease))
            return bool(session.scalar(asked))

    def note(self, lease: Lease, progress: Progress) -> None:
        """Store how far the run has come; strings from the child are cut."""
        self._write(
            lease,
            stage=plain_text(progress.stage, 64),
            done=progress.done,
            total=progress.total,
            note=plain_text(progress.note, 200),
        )

    def finish(self, lease: Lease, document_sha256: str) -> None:
        """The report is stored."""
        self._end(lease, Status.DONE, document_sha256=document_sha256)

    def fail(self, lease: Lease, problem: Problem) -> None:
        """The evaluation has a terminal problem."""
        self._end(lease, Status.FAILED, problem=problem.model_dump(mode="json"))

    def cancelled(self, lease: Lease) -> None:
        """The run was ended on its owner's request."""
        self._end(lease, Status.CANCELLED)

    def give_back(self, lease: Lease) -> None:
        """Let it run again later; this attempt was cut short and does not count."""
        self._write(
            lease,
            status=Status.QUEUED,
            lease_until=None,
            attempt=EvaluationRow.attempt - 1,
        )

    def break_off(self, lease: Lease) -> None:
        """The service itself failed: another attempt, unless this was the last."""
        with self._database.write() as session:
            row = session.scalar(select(EvaluationRow).where(_held(lease)))
            if row is not None:
                _reap(row)

    def reap(self, *, all_leases: bool = False) -> int:
        """Take back leases that ran out, or all of them; the number taken."""
        late = EvaluationRow.status == Status.RUNNING
        if not all_leases:
            late = late & (EvaluationRow.lease_until < time.time())
        with self._database.read() as session:
            if session.scalar(select(EvaluationRow.id).where(late).limit(1)) is None:
                return 0
        with self._database.write() as session:
            rows = session.scalars(select(EvaluationRow).where(late)).all()
            for row in rows:
                _reap(row)
        return len(rows)

    def _end(self, lease: Lease, status: Status, **columns: object) -> None:
        self._write(
            lease, status=status, lease_until=None, finished=time.time(), **columns
        )

    def _write(self, lease: Lease, **columns: object) -> bool:
        with self._database.write() as session:
            return _change(session, lease, **columns)


def _waiting() -> Any:  # noqa: ANN401 - SQLAlchemy's Select has a variadic type
    return (
        select(EvaluationRow)
        .where(EvaluationRow.status == Status.QUEUED)
        .order_by(EvaluationRow.sequence)
        .limit(1)
    )


def _held(lease: Lease) -> ColumnElement[bool]:
    return (
        (EvaluationRow.id == lease.evaluation_id)
        & (EvaluationRow.fence == lease.fence)
        & (EvaluationRow.status == Status.RUNNING)
    )


def _change(session: Session, lease: Lease, **columns: object) -> bool:
    """Write ``columns`` unless the lease is lost; whether it was still held."""
    statement = update(EvaluationRow).where(_held(lease)).values(**columns)
    result = session.execute(
        statement, execution_options={"synchronize_session": False}
    )
    return isinstance(result, CursorResult) and result.rowcount == 1


def _reap(row: EvaluationRow) -> None:
    """What becomes of a run whose service failed."""
    row.lease_until = None
    if row.cancel_requested:
        row.status = Status.CANCELLED
    elif row.attempt >= MOST_ATTEMPTS:
        row.status = Status.FAILED
        fault = ServiceFaultError(
            f"The service failed {row.attempt} times while it ran this evaluation."
        )
        row.problem = problem_of(fault).model_dump(mode="json")
    else:
        row.status = Status.QUEUED
        return
    row.finished = time.time()
