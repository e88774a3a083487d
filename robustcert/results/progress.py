"""How far a long piece of work has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` of ``total`` units of ``stage`` are finished.

    ``note`` is one short line about what is known so far, such as a live bracket.
    """

    stage: str
    done: int
    total: int
    note: str = ""


Listener = Callable[[Progress], None]


def unheard(_: Progress) -> None:
    """The listener that listens to nothing."""
