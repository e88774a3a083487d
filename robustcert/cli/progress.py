"""How long work shows itself: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as Bars

from robustcert.results.progress import Listener, Progress

SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def progress_display() -> Iterator[Listener]:
    """A listener that shows progress on standard error while the block runs."""
    if sys.stderr.isatty():
        with _bars() as bars:
            yield _BarListener(bars)
    else:
        yield _LineListener()


def _bars() -> Bars:
    return Bars(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        transient=True,
    )


class _BarListener:
    """One bar a stage."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, progress: Progress) -> None:
        if progress.stage not in self._tasks:
            task = self._bars.add_task(progress.stage, total=progress.total, note="")
            self._tasks[progress.stage] = task
        self._bars.update(
            self._tasks[progress.stage],
            completed=progress.done,
            total=progress.total,
            note=progress.note,
        )


class _LineListener:
    """A line at each new stage, and one every few seconds."""

    def __init__(self) -> None:
        self._stage = ""
        self._last = 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        new = progress.stage != self._stage
        if not new and now - self._last < SECONDS_BETWEEN_LINES:
            return
        self._stage, self._last = progress.stage, now
        note = f"  {progress.note}" if progress.note else ""
        line = f"{progress.stage}: {progress.done}/{progress.total}{note}"
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
