"""The best point so far, and what is proved about the optimum."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from robustcert.lipschitz.lipsdp.program import Program
from robustcert.lipschitz.lipsdp.search.iterate import Heard, Iterate, true_bound


class Record:
    """Hears every point of a run and hands on those that are better.

    Args:
        program: whose multipliers they are.
        heard: hears each better point.
        start: the one to do better than.
    """

    def __init__(self, program: Program, heard: Heard, start: Iterate) -> None:
        self.program, self._heard = program, heard
        self._floor = 0.0
        self._best = start

    @property
    def best(self) -> Iterate:
        """The best point."""
        return replace(self._best, gap=self._gap(self._best.value))

    def hear(self, multipliers: Tensor, largest: float, steps: int) -> None:
        """A feasible point.

        Args:
            multipliers: ``(units,)``, T of all stages.
            largest: eigenvalue of the outputs' covariance, in the program's scale.
            steps: made up to here.
        """
        value = true_bound(self.program, largest)
        if not value < self._best.value:
            return
        parts = torch.split(multipliers, list(self.program.units))
        self._best = Iterate(parts, value, self._gap(value), steps)
        self._heard(self._best)

    def prove(self, squared: float) -> None:
        """No feasible point has a smaller largest eigenvalue than this."""
        self._floor = max(self._floor, true_bound(self.program, squared))

    def within(self, tolerance: float) -> bool:
        """Whether the best point is proved to be as close as that to the optimum."""
        gap = self.best.gap
        return gap is not None and gap < tolerance

    def _gap(self, value: float) -> float | None:
        """Relative distance to the proved floor; ``None`` before there is one."""
        return None if self._floor == 0.0 else max(0.0, 1.0 - self._floor / value)
