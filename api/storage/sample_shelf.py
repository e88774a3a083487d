"""The sample sets: built-in ones by name, and uploads that were checked."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from robustcert.client.wire import SamplesPage, SamplesResource, SamplesSubmission

from ..errors import ConflictError, InUseError, NotFoundError
from .blobs import BlobStore
from .builtin import builtin_samples
from .database import Database
from .model_shelf import ACTIVE
from .npz import SamplesFacts, read_samples_facts
from .pages import page
from .tables import EvaluationRow, SamplesRow


class SampleShelf:
    """Accepts, lists and deletes sample sets.

    Args:
        database: holds the rows.
        blobs: holds the bytes.
        limit: most bytes that the arrays of one file may have.
    """

    def __init__(self, database: Database, blobs: BlobStore, limit: int) -> None:
        self._database = database
        self._blobs = blobs
        self._limit = limit

    def accept(self, submission: SamplesSubmission) -> tuple[SamplesResource, bool]:
        """Make a sample set of uploaded bytes; the set, and whether it is new.

        Raises:
            UnknownBlobError: the bytes were not uploaded.
            SamplesError: they are no usable sample set.
        """
        known = self._by_hash(submission.sha256)
        if known is not None:
            return known, False
        path = self._blobs.verified_path(submission.sha256)
        size = path.stat().st_size
        with path.open("rb") as file:
            facts = read_samples_facts(file, self._limit)
        with self._database.write() as session:
            row = _row_by_hash(session, submission.sha256)
            new = row is None
            if row is None:
                row = _new_row(submission, size, facts)
                session.add(row)
        return _resource(row), new

    def get(self, samples_id: str) -> SamplesResource:
        """One sample set.

        Raises:
            NotFoundError: there is none with this id.
        """
        for samples in builtin_samples():
            if samples.id == samples_id:
                return samples
        with self._database.read() as session:
            return _resource(_row(session, samples_id))

    def page(self, cursor: str | None, limit: int) -> SamplesPage:
        """Sample sets: the built-in ones on the first page, then newest first."""
        with self._database.read() as session:
            rows, following = page(session, SamplesRow, cursor, limit)
        builtin = builtin_samples() if cursor is None else ()
        items = [*builtin, *map(_resource, rows)]
        return SamplesPage(items=items, next=following)

    def delete(self, samples_id: str) -> None:
        """Delete an upload and, unless something else is made of them, its bytes.

        Raises:
            NotFoundError: there is none with this id.
            ConflictError: the set is built in.
            InUseError: an evaluation on it is waiting or running.
        """
        if self.get(samples_id).builtin:
            raise ConflictError(
                f"The set {samples_id!r} is built in.", remedy="Delete uploads only."
            )
        with self._database.write() as session:
            row = _row(session, samples_id)
            used = exists().where(
                EvaluationRow.samples_id == samples_id, EvaluationRow.status.in_(ACTIVE)
            )
            if session.scalar(select(used)):
                raise InUseError(f"An evaluation on {samples_id} is not over.")
            session.delete(row)
        self._blobs.drop_unused(row.sha256)

    def _by_hash(self, sha256: str) -> SamplesResource | None:
        with self._database.read() as session:
            row = _row_by_hash(session, sha256)
        return None if row is None else _resource(row)


def _new_row(
    submission: SamplesSubmission, size: int, facts: SamplesFacts
) -> SamplesRow:
    return SamplesRow(
        id=f"s-{secrets.token_hex(10)}",
        sha256=submission.sha256,
        name=submission.name or submission.sha256[:12],
        size=size,
        count=facts.count,
        input_shape=list(facts.input_shape),
        classes=facts.classes,
        created=time.time(),
    )


def _row_by_hash(session: Session, sha256: str) -> SamplesRow | None:
    return session.scalar(select(SamplesRow).where(SamplesRow.sha256 == sha256))


def _row(session: Session, samples_id: str) -> SamplesRow:
    row = session.scalar(select(SamplesRow).where(SamplesRow.id == samples_id))
    if row is None:
        raise NotFoundError(f"There is no sample set {samples_id!r}.")
    return row


def _resource(row: SamplesRow) -> SamplesResource:
    return SamplesResource(
        id=row.id,
        name=row.name,
        builtin=False,
        sha256=row.sha256,
        size=row.size,
        count=row.count,
        input_shape=row.input_shape,
        classes=row.classes,
        created=datetime.fromtimestamp(row.created, UTC),
    )
