"""Geometric schedules: a search begins coarse and ends fine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """The first and the last value, both > 0."""

    first: float
    last: float


def geometric(schedule: Schedule, steps: int) -> Iterator[float]:
    """``steps`` values from the first to the last, each the same factor further."""
    factor = schedule.last / schedule.first
    for step in range(steps):
        yield float(schedule.first * factor ** (step / max(1, steps - 1)))
