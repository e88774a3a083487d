"""When APGD halves its step size.

Reference:
    Croce, Hein. Reliable Evaluation of Adversarial Robustness with an Ensemble of
        Diverse Parameter-free Attacks. ICML 2020. Section 3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

FIRST_STEP = 2.0
"""The first step size, in epsilons: it crosses the whole ball."""

ENOUGH_RISES = 0.75
"""The paper's rho: the share of steps that must raise the loss."""

_FIRST_PERCENT, _SHORTER, _LEAST = 22, 3, 6
"""The periods between checkpoints, in percent of all steps: the first, by how much
each is shorter than the one before, and the shortest."""


def checkpoints(steps: int) -> tuple[int, ...]:
    """Numbers of steps after which the step size is reviewed: w_1 < w_2 < ...

    ``w_j = ceil(p_j * steps)`` with p_0 = 0, p_1 = .22 and
    ``p_{j+1} = p_j + max(p_j - p_{j-1} - .03, .06)``, exact in percent.
    """
    period, percent = _FIRST_PERCENT, _FIRST_PERCENT
    found: list[int] = []
    while percent <= 100:
        found.append(-(-percent * steps // 100))
        period = max(period - _SHORTER, _LEAST)
        percent += period
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True, eq=False)
class Pace:
    """The step sizes of T trajectories, and what their next review rests on.

    Attributes:
        sizes: ``(T,)`` step sizes in input units.
        rises: ``(T,)`` int64 steps since the last checkpoint that raised the loss.
        reference: ``(T,)`` largest loss as of the last checkpoint.
        halved: ``(T,)`` bool, whether the last checkpoint halved the step size.
    """

    sizes: Tensor
    rises: Tensor
    reference: Tensor
    halved: Tensor

    def subset(self, rows: Tensor) -> Pace:
        """The trajectories at ``rows`` (positions or a mask) alone."""
        return Pace(
            self.sizes[rows],
            self.rises[rows],
            self.reference[rows],
            self.halved[rows],
        )

    def stepped(self, before: Tensor, after: Tensor) -> Pace:
        """After one step between points of these ``(T,)`` losses."""
        return replace(self, rises=self.rises + (after > before))

    def reviewed(self, largest: Tensor, period: int) -> Pace:
        """After a checkpoint: halved where progress was rare, or where there was none.

        Condition 1: fewer than :data:`ENOUGH_RISES` of the steps raised the loss.
        Condition 2: the checkpoint before did not halve, and the largest loss is still
        what it was then.

        Args:
            largest: ``(T,)`` losses of the best points so far.
            period: steps since the last checkpoint.
        """
        rare = self.rises < ENOUGH_RISES * period
        stuck = ~self.halved & (largest <= self.reference)
        halved = rare | stuck
        return Pace(
            self.sizes.where(~halved, self.sizes / 2.0),
            torch.zeros_like(self.rises),
            largest,
            halved,
        )


def first_pace(losses: Tensor, sizes: Tensor) -> Pace:
    """At the first points: their ``(T,)`` losses and the first step sizes."""
    return Pace(
        sizes,
        torch.zeros_like(losses, dtype=torch.int64),
        losses,
        torch.zeros_like(losses, dtype=torch.bool),
    )
