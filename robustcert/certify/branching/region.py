"""The inputs a proof is about: a ball, as far as it lies in the box.

Both kinds answer one question: how low a linear form gets. Whatever the rounding of
the coefficients they are given, the answer is a lower bound for these very
coefficients, up to the roundings of its own sums (see ``confirm``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, Self, final

import torch
from torch import Tensor

from robustcert.results.norm import Norm
from robustcert.results.threat_model import Box

_UNIT = torch.finfo(torch.float64).eps
_BALANCING = 4
"""Steps towards the multiplier of the ball; every one of them is sound."""


class Region(Protocol):
    """A convex set of flattened inputs ``(D,)``."""

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        """Smallest and largest value ``(D,)`` of each coordinate, rounded outwards."""
        ...

    @property
    def sizes(self) -> Tensor:
        """``(D,)``: no term of the sums in :meth:`lowest` exceeds ``|a_i| sizes_i``."""
        ...

    def lowest(self, forms: Tensor) -> Tensor:
        """Lower bounds ``(R,)`` of ``a . x`` for forms ``(R, D)``."""
        ...

    def minimisers(self, forms: Tensor) -> Tensor:
        """Points ``(R, D)`` of the region where the forms are about lowest."""
        ...

    def to(self, dtype: torch.dtype) -> Region:
        """The same region in another dtype, for searching."""
        ...


@final
@dataclass(frozen=True, slots=True, eq=False)
class Cuboid:
    """``|x - middle| <= radius`` in every coordinate."""

    middle: Tensor
    radius: Tensor

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        """See :class:`Region`."""
        return self.middle - self.radius, self.middle + self.radius

    @property
    def sizes(self) -> Tensor:
        """See :class:`Region`."""
        return self.middle.abs() + self.radius

    def lowest(self, forms: Tensor) -> Tensor:
        """Exact: every coordinate goes to one of its ends."""
        return forms @ self.middle - forms.abs() @ self.radius

    def minimisers(self, forms: Tensor) -> Tensor:
        """A corner for each form."""
        return self.middle - forms.sign() * self.radius

    def to(self, dtype: torch.dtype) -> Self:
        """See :class:`Region`."""
        return replace(self, middle=self.middle.to(dtype), radius=self.radius.to(dtype))


@final
@dataclass(frozen=True, slots=True, eq=False)
class CutBall:
    r"""``|x - centre|_2 <= epsilon`` and ``low <= x - centre <= high``.

    For any b, a form a is at least ``a . centre - epsilon |b|`` plus what ``a - b``
    reaches between low and high. Best is the b of the Lagrange multiplier t of the
    ball: a clipped to ``[-t high, -t low]``.
    """

    centre: Tensor
    low: Tensor
    high: Tensor
    epsilon: float

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        """See :class:`Region`."""
        low, high = self.centre + self.low, self.centre + self.high
        slack = 2.0 * _UNIT * self.sizes
        return low - slack, high + slack

    @property
    def sizes(self) -> Tensor:
        """See :class:`Region`."""
        return self.centre.abs() + 2.0 * self.epsilon

    def lowest(self, forms: Tensor) -> Tensor:
        """See the class; the multiplier is a guess, the bound is not."""
        kept = self._clipped(forms)
        rest = forms - kept
        cut = torch.minimum(rest * self.low, rest * self.high).sum(dim=-1)
        ball = self.epsilon * torch.linalg.vector_norm(kept, dim=-1)
        found: Tensor = forms @ self.centre + cut - ball
        return found

    def minimisers(self, forms: Tensor) -> Tensor:
        """See :class:`Region`; outside the ball by a rounding at most."""
        moves = self._moves(forms, self._multipliers(forms))
        lengths = torch.linalg.vector_norm(moves, dim=-1, keepdim=True)
        tiny = torch.finfo(forms.dtype).tiny
        shares = (self.epsilon / lengths.clamp(min=tiny)).clamp(max=1.0)
        found: Tensor = self.centre + moves * shares
        return found

    def to(self, dtype: torch.dtype) -> Self:
        """See :class:`Region`."""
        return replace(
            self,
            centre=self.centre.to(dtype),
            low=self.low.to(dtype),
            high=self.high.to(dtype),
        )

    def _clipped(self, forms: Tensor) -> Tensor:
        multipliers = self._multipliers(forms)
        return torch.minimum(
            torch.maximum(forms, -multipliers * self.high), -multipliers * self.low
        )

    def _moves(self, forms: Tensor, multipliers: Tensor) -> Tensor:
        moves = -forms / multipliers
        return torch.minimum(torch.maximum(moves, self.low), self.high)

    def _multipliers(self, forms: Tensor) -> Tensor:
        """``(R, 1)``: the moves clipped with it have about the ball's radius."""
        tiny = torch.finfo(torch.float32).tiny
        epsilon = max(self.epsilon, tiny)
        lengths = torch.linalg.vector_norm(forms, dim=-1, keepdim=True)
        multipliers = (lengths / epsilon).clamp(min=tiny)
        for _ in range(_BALANCING):
            moves = -forms / multipliers
            free = (moves >= self.low) & (moves <= self.high)
            ends = self._moves(forms, multipliers)
            spent = torch.where(free, 0.0, ends).square().sum(dim=-1, keepdim=True)
            rest = (epsilon**2 - spent).clamp(min=1e-12 * epsilon**2).sqrt()
            lengths = torch.linalg.vector_norm(
                torch.where(free, forms, 0.0), dim=-1, keepdim=True
            )
            multipliers = (lengths / rest).clamp(min=tiny)
        found: Tensor = multipliers
        return found


def region_around(centre: Tensor, epsilon: float, norm: Norm, box: Box) -> Region:
    """The ball of radius ``epsilon`` around a flattened input ``(D,)``, in the box.

    Args:
        centre: float64, in the box.
        epsilon: finite, >= 0.
        norm: L2 or L-infinity.
        box: the valid inputs.
    """
    infinity = torch.full_like(centre, torch.inf)
    low = torch.nextafter(centre - epsilon, -infinity).clamp(min=box.low)
    high = torch.nextafter(centre + epsilon, infinity).clamp(max=box.high)
    if norm is Norm.LINF:
        middle = (low + high) / 2.0
        radius = torch.maximum(high - middle, middle - low)
        return Cuboid(middle, torch.nextafter(radius, infinity))
    fall = torch.nextafter(low - centre, -infinity).clamp(max=0.0)
    rise = torch.nextafter(high - centre, infinity).clamp(min=0.0)
    return CutBall(centre, fall, rise, epsilon)
