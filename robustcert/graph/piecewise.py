"""Continuous functions of one number that consist of straight pieces.

Reference:
    Bohra, Campos, Gupta, Aziznejad, Unser. Learning Activation Functions in Deep
        (Spline) Neural Networks. IEEE Open Journal of Signal Processing 2020.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Pieces:
    """A spline of degree 1: the outer pieces go on for ever.

    Attributes:
        knots: where pieces meet, in order, at least one.
        slopes: before, between and behind the knots, one more than knots.
        values: at the knots, each the float nearest to the exact value.
    """

    knots: tuple[float, ...]
    slopes: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def turns(self) -> tuple[float, ...]:
        """Knots where it does not just go on rising, or falling.

        Over an interval it attains its extremes at an end or at one of these.
        """
        return tuple(
            knot
            for knot, (before, after) in zip(
                self.knots, itertools.pairwise(self.slopes), strict=True
            )
            if not (before > 0.0 < after or before < 0.0 > after)
        )

    @property
    def steepest(self) -> float:
        """Largest absolute slope."""
        return max(abs(slope) for slope in self.slopes)

    @property
    def size(self) -> float:
        """What errors are relative to at an argument of 0, in units of the result."""
        furthest = max(abs(knot) for knot in self.knots)
        return self.steepest * furthest + max(abs(value) for value in self.values)

    def __call__(self, points: Tensor) -> Tensor:
        """The function of each element, in its dtype; NaN stays NaN.

        With S the steepest slope and u the unit roundoff, the result is within ``16 u
        (S |z| + |f(z)| + size)``: the three rounded numbers of a piece cost ``u (|v| +
        S |t| + S |z - t|)``, the product and the sum ``2 u S |z - t| + u |f|``, and
        a rounded knot may put z on the piece beside its own, which costs ``2 u S |t|``.
        """
        knots, slopes, values = (
            torch.tensor(numbers, dtype=points.dtype, device=points.device)
            for numbers in (self.knots, self.slopes, self.values)
        )
        points = self._inside(points)
        piece = torch.searchsorted(knots, points.detach().contiguous(), right=True)
        nearest = (piece - 1).clamp(min=0)
        return values[nearest] + slopes[piece] * (points - knots[nearest])

    def _inside(self, points: Tensor) -> Tensor:
        """Points moved along a flat outer piece: infinity times 0 is no number."""
        low = self.knots[0] if self.slopes[0] == 0.0 else None
        high = self.knots[-1] if self.slopes[-1] == 0.0 else None
        if low is None and high is None:
            return points
        return points.clamp(low, high)


@lru_cache(maxsize=256)
def pieces_of(parameters: tuple[float, ...]) -> Pieces:
    """The function of ``(slope, knot, slope, ..., knot, slope, value)``.

    Slopes and knots alternate from the first piece to the last; the value is that at
    the first knot.

    Raises:
        ValueError: the numbers are none of a function.
    """
    slopes, knots = parameters[:-1:2], parameters[1:-1:2]
    in_order = all(before < after for before, after in itertools.pairwise(knots))
    if not knots or len(slopes) != len(knots) + 1 or not in_order:
        raise ValueError("a spline has slopes around and between ascending knots")
    if not all(math.isfinite(number) for number in parameters):
        raise ValueError("the numbers of a spline are finite")
    value = Fraction(parameters[-1])
    values = [value]
    for slope, (start, end) in zip(
        slopes[1:-1], itertools.pairwise(knots), strict=True
    ):
        value += Fraction(slope) * (Fraction(end) - Fraction(start))
        values.append(value)
    return Pieces(knots, slopes, tuple(float(value) for value in values))
