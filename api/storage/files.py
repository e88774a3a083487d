"""Writing files so that they outlast a power cut."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import StorageFullError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def told_when_full() -> Iterator[None]:
    """Turn the system's "no space left" into an error with a remedy.

    Raises:
        StorageFullError: the disk or the quota is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise StorageFullError("No space is left for uploads.") from error


def sync_folder(folder: Path) -> None:
    """Make the names inside ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folders(folder: Path, root: Path) -> None:
    """Create ``folder`` below ``root``, each level durable."""
    if folder.is_dir():
        return
    if folder != root:
        make_folders(folder.parent, root)
    folder.mkdir(mode=0o700, exist_ok=True)
    sync_folder(folder.parent)
