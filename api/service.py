"""The parts of a running service, put together once."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from robustcert.sandbox.confine import capabilities

from .engines.local import LocalEngine
from .errors import DataDirInUseError
from .jobs.bell import Bell
from .jobs.dispatcher import Dispatcher
from .jobs.orders import Orders
from .jobs.queue import Queue
from .jobs.register import Register
from .settings import Settings
from .storage.blobs import BlobStore
from .storage.database import Database
from .storage.model_shelf import ModelShelf
from .storage.report_shelf import ReportShelf
from .storage.sample_shelf import SampleShelf
from .work import Entry
from .worker import check_sandbox


@dataclass(frozen=True, slots=True)
class Service:
    """What the endpoints work with."""

    settings: Settings
    database: Database
    blobs: BlobStore
    models: ModelShelf
    samples: SampleShelf
    evaluations: Register
    bell: Bell
    reports: ReportShelf
    dispatcher: Dispatcher
    lock: FolderLock

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Open the data folder, bring the database up to date, start to work.

        Raises:
            DataDirInUseError: another service has the folder open.
            UsageError: the sandbox is weak.
        """
        check_start(settings)
        lock = FolderLock(settings.data_dir)
        database = Database(settings.resolved_database_url)
        database.migrate()
        blobs = BlobStore(settings.data_dir.resolve(), database)
        blobs.sweep()
        bell = Bell()
        orders = Orders(
            blobs,
            settings.data_dir.resolve() / "work",
            settings.evaluation_seconds,
            settings.evaluation_memory_mb,
        )
        engine = LocalEngine(Entry(settings.worker_entry, settings.worker_code))
        dispatcher = Dispatcher(Queue(database), engine, orders, bell, settings.slots)
        dispatcher.start()
        return cls(
            settings=settings,
            database=database,
            blobs=blobs,
            models=ModelShelf(database, blobs),
            samples=SampleShelf(database, blobs, settings.samples_bytes),
            evaluations=Register(database, settings.queue_limit),
            reports=ReportShelf(blobs),
            bell=bell,
            dispatcher=dispatcher,
            lock=lock,
        )

    def close(self) -> None:
        """End the runs, close the database, free the folder."""
        self.bell.close()
        self.dispatcher.stop()
        self.database.close()
        self.lock.release()


def check_start(settings: Settings) -> None:
    """Raise now what :meth:`Service.open` would raise, before a server is started.

    Raises:
        DataDirInUseError: another service has the folder open.
        UsageError: the sandbox is weak.
    """
    if not settings.allow_weak_sandbox:
        check_sandbox(capabilities())
    FolderLock(settings.data_dir).release()


class FolderLock:
    """Keeps a second service out of the same folder.

    A record lock belongs to the process: the system frees it however the process ends,
    and a forked child does not inherit it.

    Args:
        folder: is created where it is missing.

    Raises:
        DataDirInUseError: another process holds the lock.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise DataDirInUseError(f"Another service works in {folder}.") from error

    def release(self) -> None:
        """Let others in."""
        os.close(self._descriptor)
