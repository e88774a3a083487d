"""Evaluations on this machine, each in a sandbox child of its own."""

from __future__ import annotations

from typing import final

from robustcert.results.document import Document

from ..work import Entry, Watch, WorkOrder
from ..worker import run_order


@final
class LocalEngine:
    """Runs each order in a child process, on the thread that asks.

    Args:
        entry: what each child runs.
    """

    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    def run(self, order: WorkOrder, watch: Watch) -> Document:
        """The report document of ``order``; blocks until it is there."""
        return run_order(self._entry, order, watch)
