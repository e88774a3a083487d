"""What an engine does."""

from __future__ import annotations

from typing import Protocol

from robustcert.results.document import Document

from ..work import Watch, WorkOrder


class Engine(Protocol):
    """Runs evaluations; safe to call from several threads."""

    def run(self, order: WorkOrder, watch: Watch) -> Document:
        """The report document of ``order``; blocks until it is there.

        Raises:
            RobustCertError: the evaluation failed, and why.
        """
