"""Many ascents side by side, one row each: Algorithm 1 of APGD.

Reference:
    Croce, Hein. Reliable Evaluation of Adversarial Robustness with an Ensemble of
        Diverse Parameter-free Attacks. ICML 2020. Algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustcert.attacks.apgd.objectives import Goals
from robustcert.attacks.apgd.pace import Pace
from robustcert.results.norm import Norm
from robustcert.results.threat_model import ThreatModel
from robustcert.tensors import project, rows_like, steepest_unit

MOMENTUM = 0.75
"""The paper's alpha: the gradient step's share; the last move has the rest."""


@dataclass(frozen=True, slots=True, eq=False)
class Iterate:
    """One point of each of T trajectories.

    Attributes:
        points: ``(T, *shape)``.
        losses: ``(T,)``; minus infinity where the loss is no number.
        gradients: ``(T, *shape)``.
    """

    points: Tensor
    losses: Tensor
    gradients: Tensor

    def subset(self, rows: Tensor) -> Iterate:
        """Those at ``rows`` (positions or a mask) alone."""
        return Iterate(self.points[rows], self.losses[rows], self.gradients[rows])

    def replaced(self, rows: Tensor, other: Iterate) -> Iterate:
        """Those of ``other`` in the rows of the mask, these elsewhere."""
        wide = rows_like(rows, self.points)
        return Iterate(
            other.points.where(wide, self.points),
            other.losses.where(rows, self.losses),
            other.gradients.where(wide, self.gradients),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Trajectories:
    """Where T ascents stand.

    Attributes:
        rows: ``(T,)`` positions of their samples.
        centres: ``(T, *shape)`` the samples.
        goals: what they are after.
        now: where they are.
        previous: ``(T, *shape)`` where they were one step before.
        best: the points of largest loss.
        pace: their step sizes.
    """

    rows: Tensor
    centres: Tensor
    goals: Goals
    now: Iterate
    previous: Tensor
    best: Iterate
    pace: Pace

    def subset(self, rows: Tensor) -> Trajectories:
        """Those at ``rows`` (positions or a mask) alone."""
        return Trajectories(
            self.rows[rows],
            self.centres[rows],
            self.goals.subset(rows),
            self.now.subset(rows),
            self.previous[rows],
            self.best.subset(rows),
            self.pace.subset(rows),
        )

    def ahead(self, threat: ThreatModel, share: float) -> Tensor:
        """``(T, *shape)`` the next points.

        Args:
            threat: ball and box.
            share: of the gradient step; the last move has the rest.
        """
        now = self.now.points
        direction = steepest_unit(_unit_rows(self.now.gradients), threat.norm)
        sizes = rows_like(self.pace.sizes, now)
        aimed = project(now + sizes * direction, self.centres, threat)
        mixed = now + share * (aimed - now) + (1.0 - share) * (now - self.previous)
        return project(mixed, self.centres, threat)

    def moved(self, after: Iterate) -> Trajectories:
        """Now at ``after``."""
        return replace(
            self,
            now=after,
            previous=self.now.points,
            best=self.best.replaced(after.losses > self.best.losses, after),
            pace=self.pace.stepped(self.now.losses, after.losses),
        )

    def reviewed(self, period: int) -> Trajectories:
        """After a checkpoint: those with halved steps start again at their best."""
        pace = self.pace.reviewed(self.best.losses, period)
        return replace(self, now=self.now.replaced(pace.halved, self.best), pace=pace)


def _unit_rows(gradients: Tensor) -> Tensor:
    """Rows scaled to a largest entry of 1; squares of tiny ones would be 0."""
    largest = gradients.flatten(1).abs().amax(dim=1)
    return gradients / rows_like(largest.where(largest > 0.0, 1.0), gradients)


def random_starts(
    centres: Tensor, threat: ThreatModel, generator: torch.Generator
) -> Tensor:
    """Points on the sphere of radius epsilon about the samples, moved into the box.

    Args:
        centres: ``(T, *shape)``, inside the box.
        threat: norm, epsilon and box.
        generator: on the same device.
    """
    noise = torch.empty_like(centres)
    if threat.norm is Norm.LINF:
        away = _unit_rows(noise.uniform_(-1.0, 1.0, generator=generator))
    else:
        away = steepest_unit(noise.normal_(generator=generator), threat.norm)
    return project(centres + threat.epsilon * away, centres, threat)
