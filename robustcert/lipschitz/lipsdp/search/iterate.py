"""What an optimiser hands on, and how long it may run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from robustcert.lipschitz.lipsdp.program import Program


@dataclass(frozen=True, slots=True, eq=False)
class Iterate:
    """Feasible multipliers, and the bound they give.

    Attributes:
        multipliers: ``(M,)`` for each stage.
        value: the Lipschitz bound in the graph's own scale, as computed; rounding is
            not accounted for.
        gap: how far, relative to ``value``, the optimum may be below it; ``None``
            where the method proves nothing about it.
        steps: how many steps were made up to here.
    """

    multipliers: tuple[Tensor, ...]
    value: float
    gap: float | None
    steps: int


Heard = Callable[[Iterate], None]
"""Hears every iterate that is better than those before it."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment of the monotonic clock, in seconds."""

    moment: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The moment that many seconds from now; infinity never comes."""
        return cls(time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """Seconds left, below 0 once it has passed."""
        return self.moment - time.monotonic()

    @property
    def passed(self) -> bool:
        """Whether the time is over."""
        return self.left <= 0.0


def true_bound(program: Program, largest: float) -> float:
    """The Lipschitz bound, from the largest eigenvalue in the program's scale."""
    try:
        return math.ldexp(math.sqrt(max(largest, 0.0)), -program.exponents[-1])
    except OverflowError:  # beyond float64: no bound
        return math.inf
