"""Steepest ascent along directions that somebody else estimates, judged on the model.

References:
    Dong et al. Boosting Adversarial Attacks with Momentum. CVPR 2018. (The average of
        directions, each of unit l1 norm.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.attacks.interface import Target
from robustcert.attacks.verify import judged_margins, settle
from robustcert.tensors import project, rows_like, steepest_unit

Uphill = Callable[[Tensor, Tensor], Tensor]
"""Directions ``(M, *shape)`` in which a loss rises at points ``(M, *shape)``, 0 where
none is known; the second argument is ``(M,)`` positions of their samples."""

_MEMORY = 0.8
"""Weight of the directions so far: estimates are noisy, their average is less so."""

_LOST = 3
"""After so many steps a sample leaves, too, if no direction was known in any."""


@dataclass(frozen=True, slots=True, eq=False)
class Trail:
    """The best point of each sample's walk; it grows as the walk goes on.

    Attributes:
        points: ``(N, *shape)`` in float32 at least, as the model's dtype stores them.
        margins: ``(N,)`` float64, the model's at ``points``.
        moved: ``(N,)`` bool, whether the walk ever left the sample.
    """

    points: Tensor
    margins: Tensor
    moved: Tensor

    @property
    def standing(self) -> Tensor:
        """Positions of samples that are not yet fooled; NaN is not fooled."""
        return (~(self.margins < 0.0)).nonzero().flatten()

    def note(self, rows: Tensor, points: Tensor, margins: Tensor) -> None:
        """Keep the points at ``rows`` whose margin is smaller than before."""
        better = (margins < self.margins[rows]) | self.margins[rows].isnan()
        kept = rows[better]
        self.points[kept] = points[better].to(self.points.dtype)
        self.margins[kept] = margins[better]


def trailhead(target: Target) -> Trail:
    """No step taken: every sample at its own place, also one that is wrong there."""
    points = target.inputs.to(walking_dtype(target.model.dtype)).clone()
    gaps = judged_margins(target.model, points, target.labels)
    return Trail(points, gaps, torch.zeros_like(gaps, dtype=torch.bool))


def walking_dtype(dtype: torch.dtype) -> torch.dtype:
    """Float32 at least, so that small steps are not lost."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def walk(target: Target, uphill: Uphill, steps: int, trail: Trail) -> None:
    """Walk from the samples, and keep in ``trail`` the best points of the model itself.

    Steps shrink from epsilon to epsilon / ``steps`` on half a cosine. A sample leaves
    once it is fooled within ball and box as the model's dtype stores it, and soon if
    no direction is known.

    Args:
        target: N samples.
        uphill: where to go.
        steps: at least 1.
        trail: of the same samples; grows in place.
    """
    threat = target.threat
    if threat.epsilon == 0.0 or threat.box.width == 0.0:
        return
    centres = target.inputs.to(trail.points.dtype)
    here, average = centres.clone(), torch.zeros_like(centres)
    for step in range(steps):
        rows = trail.standing
        if step >= _LOST:
            rows = rows[(average[rows] != 0.0).flatten(1).any(dim=1)]
        if not len(rows):
            return
        average[rows] = _MEMORY * average[rows] + _unit(uphill(here[rows], rows))
        length = threat.epsilon * _pace(step, steps)
        ahead = here[rows] + length * steepest_unit(average[rows], threat.norm)
        here[rows] = project(ahead, centres[rows], threat)
        trail.moved[rows] |= (here[rows] != centres[rows]).flatten(1).any(dim=1)
        task = target.subset(rows)
        stored = settle(here[rows], task.inputs, threat, target.model.dtype)
        trail.note(rows, stored, judged_margins(target.model, stored, task.labels))


def _pace(step: int, steps: int) -> float:
    return max((1.0 + math.cos(math.pi * step / steps)) / 2.0, 1.0 / steps)


def _unit(directions: Tensor) -> Tensor:
    """Rows of unit l1 norm; 0 stays 0."""
    sizes = directions.flatten(1).abs().amax(dim=1)
    tiny = torch.finfo(directions.dtype).tiny
    level = directions / rows_like(sizes.clamp(min=tiny), directions)
    total = level.flatten(1).abs().sum(dim=1).clamp(min=tiny)
    return level / rows_like(total, directions)
