"""Reports as they were issued, and in other formats."""

from __future__ import annotations

import functools

from robustcert.formats.registry import format_named
from robustcert.results.document import from_json

from .blobs import BlobStore

_KEPT = 16


class ReportShelf:
    """Reads and writes out reports; a report never changes, so the last are kept.

    Args:
        blobs: holds the documents.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._written = functools.lru_cache(maxsize=_KEPT)(self._write)

    def text(self, sha256: str, format_name: str) -> bytes:
        """The report whose document has this hash, in the format of this name.

        Raises:
            UnknownNameError: no format has this name.
            DamagedBlobError: the document changed on the disk.
        """
        if format_name == "json":
            return self._blobs.read(sha256)
        return self._written(sha256, format_name)

    def _write(self, sha256: str, format_name: str) -> bytes:
        report = from_json(self._blobs.read(sha256))
        return format_named(format_name).write(report).encode()
