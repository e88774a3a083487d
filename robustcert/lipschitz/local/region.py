"""Sets of inputs on which a local bound holds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.errors import UsageError
from robustcert.graph.layers import Shape
from robustcert.lipschitz.local.intervals import Interval
from robustcert.lipschitz.rounding import UNIT, gamma, up
from robustcert.results.bound import Scope
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.threat_model import Box


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """All x with ``|x - centre| <= radius`` that lie in ``box``: a convex set.

    Attributes:
        centre: ``(*shape)`` float64, inside the box.
        radius: in input units, finite and at least 0.
        norm: of the ball, L2 or L-infinity.
        box: the valid inputs; ``None`` where the whole ball counts.
        scope: what a bound on this region is said to hold on.
    """

    centre: Tensor
    radius: float
    norm: Norm
    box: Box | None = None
    scope: Scope = Scope.BALL

    def __post_init__(self) -> None:
        if self.norm not in THREAT_NORMS:
            raise UsageError(
                f"no region is known in {self.norm.word}", remedy="Choose l2 or linf."
            )
        if not (math.isfinite(self.radius) and self.radius >= 0.0):
            raise UsageError(
                f"the radius of a region is {self.radius}",
                remedy="Give a finite radius of at least 0.",
            )
        if not bool(torch.isfinite(self.centre).all()) or self._leaves_box():
            raise UsageError(
                "the centre of a region is not inside the box",
                remedy="Give an input of the model, in the box.",
            )

    def _leaves_box(self) -> bool:
        if self.box is None:
            return False
        outside = (self.centre < self.box.low) | (self.centre > self.box.high)
        return bool(outside.any())

    @property
    def interval(self) -> Interval:
        """``(1, *shape)`` smallest and largest value of each coordinate."""
        centre = self.centre[None]
        around = Interval(centre - self.radius, centre + self.radius).widened()
        if self.box is None:
            return around
        low, high = self.box.low, self.box.high
        return Interval(around.low.clamp(min=low), around.high.clamp(max=high))

    @property
    def diameter(self) -> float:
        """L2 radius of a ball around the centre that holds the region, rounded up."""
        if self.norm is Norm.L2:
            return self.radius
        return up(up(self.radius * math.sqrt(self.centre.numel())))

    def reach(self, rows: Tensor) -> Tensor:
        """Upper bounds ``(R,)`` of ``row . (x - centre)`` over the region.

        Args:
            rows: ``(R, n)`` float64.
        """
        slack = 1.0 + gamma(2 * rows.shape[1] + 16)
        interval, centre = self.interval, self.centre.flatten()
        rises = (interval.high.flatten() - centre).clamp(min=0.0) * (1.0 + 4.0 * UNIT)
        falls = (centre - interval.low.flatten()).clamp(min=0.0) * (1.0 + 4.0 * UNIT)
        within = rows.clamp(min=0.0) @ rises - rows.clamp(max=0.0) @ falls
        if self.norm is Norm.L2:
            ball = self.radius * torch.linalg.vector_norm(rows, dim=1)
            within = torch.minimum(within, ball)
        return within * slack


def l2_ball(centre: Tensor, radius: float, box: Box | None = None) -> Region:
    """The L2 ball around an input ``(*shape)``, as far as it lies in the box.

    Raises:
        UsageError: the radius is not a number of at least 0, or the centre is outside.
    """
    return Region(centre.detach().double().cpu(), radius, Norm.L2, box)


def whole_box(shape: Shape, box: Box) -> Region:
    """Every input ``(*shape)`` in the box."""
    middle = box.low + box.width / 2.0
    radius = up(max(box.high - middle, middle - box.low))
    centre = torch.full(shape, middle, dtype=torch.float64)
    return Region(centre, radius, Norm.LINF, box, Scope.BOX)
