"""Tells the requests that wait for an evaluation that something happened to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_Waiter = tuple[asyncio.AbstractEventLoop, asyncio.Event]


class Bell:
    """Rung from any thread, heard on the event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: dict[str, set[_Waiter]] = {}
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the service is stopping: nobody should wait any longer."""
        return self._closed

    @contextmanager
    def listening(self, evaluation_id: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever the evaluation changes."""
        waiter = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._waiters.setdefault(evaluation_id, set()).add(waiter)
        try:
            yield waiter[1]
        finally:
            with self._lock:
                others = self._waiters[evaluation_id]
                others.discard(waiter)
                if not others:
                    del self._waiters[evaluation_id]

    def ring(self, evaluation_id: str) -> None:
        """Wake everyone who listens to this evaluation."""
        with self._lock:
            waiters = list(self._waiters.get(evaluation_id, ()))
        _wake(waiters)

    def close(self) -> None:
        """Wake everyone, for good."""
        self._closed = True
        with self._lock:
            waiters = [one for group in self._waiters.values() for one in group]
        _wake(waiters)


def _wake(waiters: list[_Waiter]) -> None:
    for loop, event in waiters:
        loop.call_soon_threadsafe(event.set)
