"""The models: uploads that passed the static scan."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from robustcert.archive.inspect import inspect
from robustcert.client.wire import ModelPage, ModelResource, ModelSubmission, Status

from ..errors import InUseError, NotFoundError
from .blobs import BlobStore
from .database import Database
from .pages import page
from .tables import EvaluationRow, ModelRow

ACTIVE = (Status.QUEUED, Status.RUNNING)


class ModelShelf:
    """Accepts, lists and deletes models.

    Args:
        database: holds the rows.
        blobs: holds the bytes.
    """

    def __init__(self, database: Database, blobs: BlobStore) -> None:
        self._database = database
        self._blobs = blobs

    def accept(self, submission: ModelSubmission) -> tuple[ModelResource, bool]:
        """Make a model of uploaded bytes; the model, and whether it is new.

        Raises:
            UnknownBlobError: the bytes were not uploaded.
            ArchiveError: the static scan refuses them.
        """
        known = self._by_hash(submission.sha256)
        if known is not None:
            return known, False
        data = self._blobs.read(submission.sha256)
        inspect(data)
        with self._database.write() as session:
            row = _row_by_hash(session, submission.sha256)
            new = row is None
            if row is None:
                row = ModelRow(
                    id=f"m-{secrets.token_hex(10)}",
                    sha256=submission.sha256,
                    name=submission.name or submission.sha256[:12],
                    size=len(data),
                    created=time.time(),
                )
                session.add(row)
        return _resource(row), new

    def get(self, model_id: str) -> ModelResource:
        """One model.

        Raises:
            NotFoundError: there is none with this id.
        """
        with self._database.read() as session:
            return _resource(_row(session, model_id))

    def page(self, cursor: str | None, limit: int) -> ModelPage:
        """Models, newest first."""
        with self._database.read() as session:
            rows, following = page(session, ModelRow, cursor, limit)
        return ModelPage(items=[_resource(row) for row in rows], next=following)

    def delete(self, model_id: str) -> None:
        """Delete a model and, unless something else is made of them, its bytes.

        Raises:
            NotFoundError: there is none with this id.
            InUseError: an evaluation of it is waiting or running.
        """
        with self._database.write() as session:
            row = _row(session, model_id)
            used = exists().where(
                EvaluationRow.model_id == model_id, EvaluationRow.status.in_(ACTIVE)
            )
            if session.scalar(select(used)):
                raise InUseError(f"An evaluation of model {model_id} is not over.")
            session.delete(row)
        self._blobs.drop_unused(row.sha256)

    def _by_hash(self, sha256: str) -> ModelResource | None:
        with self._database.read() as session:
            row = _row_by_hash(session, sha256)
        return None if row is None else _resource(row)


def _row_by_hash(session: Session, sha256: str) -> ModelRow | None:
    return session.scalar(select(ModelRow).where(ModelRow.sha256 == sha256))


def _row(session: Session, model_id: str) -> ModelRow:
    row = session.scalar(select(ModelRow).where(ModelRow.id == model_id))
    if row is None:
        raise NotFoundError(f"There is no model {model_id!r}.")
    return row


def _resource(row: ModelRow) -> ModelResource:
    return ModelResource(
        id=row.id,
        sha256=row.sha256,
        name=row.name,
        size=row.size,
        created=datetime.fromtimestamp(row.created, UTC),
    )
