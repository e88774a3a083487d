"""Leases as orders for an engine, and the documents that come back."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from robustcert.results.document import Document, canonical_json

from ..storage.blobs import BlobStore
from ..work import WorkOrder
from .queue import Lease


class Orders:
    """Finds the verified files of a lease and keeps its document.

    Args:
        blobs: holds the bytes.
        folder: holds a working folder for each evaluation that has begun.
        seconds: the service's wall-clock limit of one evaluation.
        memory_mb: its memory limit, in MiB.
    """

    def __init__(
        self, blobs: BlobStore, folder: Path, seconds: float, memory_mb: int
    ) -> None:
        self._blobs = blobs
        self._folder = folder
        self._seconds = seconds
        self._memory_mb = memory_mb

    def order(self, lease: Lease) -> WorkOrder:
        """The order of ``lease``; a request's budget only lowers the limits.

        Raises:
            DamagedBlobError: the model or the samples changed on the disk.
        """
        budget = lease.request.budget
        samples = lease.samples_sha256
        return WorkOrder(
            evaluation_id=lease.evaluation_id,
            request=lease.request,
            model_path=self._blobs.verified_path(lease.model_sha256),
            model_sha256=lease.model_sha256,
            samples_path=None
            if samples is None
            else self._blobs.verified_path(samples),
            samples_name=lease.samples_name,
            seconds=min(self._seconds, budget.seconds or self._seconds),
            memory_mb=min(self._memory_mb, budget.memory_mb or self._memory_mb),
            folder=self._folder / lease.evaluation_id,
        )

    def discard(self, lease: Lease) -> None:
        """Remove the working folder of an evaluation that is over."""
        shutil.rmtree(self._folder / lease.evaluation_id, ignore_errors=True)

    def sweep(self, waiting: Collection[str]) -> None:
        """Remove the working folders of all evaluations but those that wait."""
        if not self._folder.is_dir():
            return
        for folder in self._folder.iterdir():
            if folder.name not in waiting:
                shutil.rmtree(folder, ignore_errors=True)

    def keep(self, document: Document) -> str:
        """Store ``document``; its hash."""
        return self._blobs.keep_bytes(canonical_json(document).encode())
