"""Uploads and reports by the hash of their bytes, on this machine's disk.

An upload is safe before it is acknowledged: temporary file, fsync, rename, fsync of the
folder, row committed. Bytes are hashed again whenever they are read.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from robustcert.client.wire import SHA256, BlobReceipt

from ..errors import (
    DamagedBlobError,
    HashMismatchError,
    TooLargeError,
    UnknownBlobError,
)
from .database import Database
from .files import make_folders, sync_folder, told_when_full
from .tables import BlobRow, EvaluationRow, ModelRow, SamplesRow

_CHUNK = 2**20
_REFERENCES = (ModelRow.sha256, SamplesRow.sha256, EvaluationRow.document_sha256)


class IncomingBlob:
    """Bytes on their way in: counted and hashed while they are written.

    Args:
        path: of the temporary file.
        descriptor: the same file, open for writing.
        limit: most bytes that are taken.
    """

    def __init__(self, path: Path, descriptor: int, limit: int) -> None:
        self.path = path
        self.size = 0
        self._descriptor = descriptor
        self._limit = limit
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Hash of the bytes so far."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        """Append ``data``.

        Raises:
            TooLargeError: more bytes than the limit have arrived.
            StorageFullError: the disk is full.
        """
        self.size += len(data)
        if self.size > self._limit:
            raise TooLargeError(f"The body is larger than {self._limit} bytes.")
        self._hash.update(data)
        view = memoryview(data)
        with told_when_full():
            while view:
                view = view[os.write(self._descriptor, view) :]

    def settle(self) -> None:
        """Make the bytes durable and read-only."""
        with told_when_full():
            os.fchmod(self._descriptor, 0o400)
            os.fsync(self._descriptor)


class BlobStore:
    """The content-addressed store: ``sha256/ab/cd/<hash>`` and a row for each.

    Args:
        root: the service's data folder, which exists.
        database: holds the rows.
    """

    def __init__(self, root: Path, database: Database) -> None:
        self._root = root
        self._incoming = root / "incoming"
        self._database = database
        # Between a blob's file and its row: keeping and dropping exclude each other.
        self._lock = threading.Lock()
        make_folders(self._incoming, root)
        make_folders(root / "sha256", root)

    def sweep(self) -> int:
        """Remove what interrupted uploads left; the number of files removed."""
        left = [path for path in self._incoming.iterdir() if path.is_file()]
        for path in left:
            path.unlink()
        return len(left)

    @contextmanager
    def incoming(self, limit: int) -> Iterator[IncomingBlob]:
        """A temporary file that is gone at the end unless it was kept."""
        with told_when_full():
            descriptor, name = tempfile.mkstemp(dir=self._incoming)
        path = Path(name)
        try:
            yield IncomingBlob(path, descriptor, limit)
        finally:
            os.close(descriptor)
            path.unlink(missing_ok=True)

    def keep(self, blob: IncomingBlob, announced: str) -> tuple[BlobReceipt, bool]:
        """Take ``blob`` into the store; the receipt, and whether it is new.

        Bytes that are known are written again: that heals a damaged file.

        Raises:
            HashMismatchError: the bytes do not have the ``announced`` hash.
            StorageFullError: the disk is full.
        """
        if blob.sha256 != announced:
            raise HashMismatchError(
                f"The {blob.size} bytes that arrived have the hash {blob.sha256}, "
                f"not {announced}."
            )
        blob.settle()
        target = self.path(announced)
        with self._lock:
            with told_when_full():
                make_folders(target.parent, self._root)
                blob.path.replace(target)
                sync_folder(target.parent)
            new = self._commit(announced, blob.size)
        return BlobReceipt(sha256=announced, size=blob.size), new

    def keep_bytes(self, data: bytes) -> str:
        """Take ``data`` into the store; its hash."""
        with self.incoming(len(data)) as blob:
            blob.write(data)
            return self.keep(blob, blob.sha256)[0].sha256

    def find(self, sha256: str) -> BlobReceipt:
        """The receipt of bytes that are here.

        Raises:
            UnknownBlobError: they are not, or no longer whole.
        """
        with self._database.read() as session:
            row = session.get(BlobRow, sha256)
        if row is None or not _has_size(self.path(sha256), row.size):
            raise UnknownBlobError(f"No bytes with the hash {sha256} are stored.")
        return BlobReceipt(sha256=row.sha256, size=row.size)

    def read(self, sha256: str) -> bytes:
        """The bytes, verified.

        Raises:
            UnknownBlobError: they were never uploaded.
            DamagedBlobError: they changed on the disk.
        """
        self.find(sha256)
        data = self.path(sha256).read_bytes()
        _check_hash(hashlib.sha256(data).hexdigest(), sha256)
        return data

    def verified_path(self, sha256: str) -> Path:
        """Where the bytes lie, after they were verified; raises as :meth:`read`."""
        self.find(sha256)
        path = self.path(sha256)
        with path.open("rb") as file:
            _check_hash(hashlib.file_digest(file, "sha256").hexdigest(), sha256)
        return path

    def drop_unused(self, sha256: str) -> None:
        """Delete the bytes unless a model, a sample set or a report still is them."""
        with self._lock:
            with self._database.write() as session:
                row = session.get(BlobRow, sha256)
                if row is None or _is_used(session, sha256):
                    return
                session.delete(row)
            self.path(sha256).unlink(missing_ok=True)

    def path(self, sha256: str) -> Path:
        """Where bytes with this hash lie."""
        # The pattern keeps every name that is not a hash away from the disk.
        if not re.fullmatch(SHA256, sha256):
            raise UnknownBlobError("A hash has 64 hexadecimal digits.")
        return self._root / "sha256" / sha256[:2] / sha256[2:4] / sha256

    def _commit(self, sha256: str, size: int) -> bool:
        with self._database.write() as session:
            if session.get(BlobRow, sha256) is not None:
                return False
            session.add(BlobRow(sha256=sha256, size=size, created=time.time()))
        return True


def _is_used(session: Session, sha256: str) -> bool:
    return any(
        session.scalar(select(exists().where(column == sha256)))
        for column in _REFERENCES
    )


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _check_hash(found: str, expected: str) -> None:
    if found != expected:
        raise DamagedBlobError(f"The stored bytes of {expected} have changed.")
