"""An activation that is learned: a linear spline of constant at most 1.

Between layers of norm 1, ReLU cannot represent even ``|x|``. Splines of three pieces
can express what any activation of constant 1 that acts on single coordinates can.

References:
    Ducotterd, Goujon, Bohra, Perdios, Neumayer, Unser. Improving Lipschitz-Constrained
        Neural Networks by Learning Activation Functions. JMLR 2024, section 3.
        (Projection by clipped slopes that keeps the mean.)
    Neumayer, Goujon, Bohra, Unser. Approximation of Lipschitz Functions using Deep
        Spline Neural Networks. SIAM Journal on Mathematics of Data Science 2023.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from robustcert.errors import UsageError

KNOTS = 21
"""An odd number puts one at 0."""

REACH = 2.5
"""With 21 knots they are a quarter apart, and so are floats without rounding."""

_FEWEST_KNOTS = 4  # and three pieces, which a reader of files puts together again


class LinearSpline(nn.Module):
    """One function of constant at most 1 for all units of a layer.

    It is linear between uniform knots, and goes on beyond the outer ones. Whatever the
    parameters, what is applied has slopes in [-1, 1]: slopes between the parameters are
    clipped, and the values that follow are moved to the parameters' mean.

    It begins as the absolute value. All slopes of that are 1 or -1, so that lengths of
    gradients are kept, as MaxMin keeps them; a leaky ReLU shortens those of half of the
    units, and under the bound no later layer makes up for it.

    Args:
        count: of knots, at least 4.
        reach: the knots lie from ``-reach`` to ``reach``, above 0.

    Attributes:
        values: parameters, one a knot ``(count,)``.
        knots: ``(count,)``.

    Raises:
        UsageError: there are too few knots, or they have no width.
    """

    knots: Tensor

    def __init__(self, count: int = KNOTS, reach: float = REACH) -> None:
        super().__init__()
        if count < _FEWEST_KNOTS or not 0.0 < reach < math.inf:
            raise UsageError(
                f"a spline cannot have {count} knots from {-reach:g} to {reach:g}",
                remedy=f"Give at least {_FEWEST_KNOTS} knots and a reach above 0.",
            )
        self.register_buffer("knots", torch.linspace(-reach, reach, count))
        self.values = nn.Parameter(self.knots.abs())

    def line_pieces(self) -> tuple[Tensor, Tensor]:
        """What is applied: slopes ``(count - 1,)`` in [-1, 1], values ``(count,)``."""
        widths = self.knots.diff()
        slopes = (self.values.diff() / widths).clamp(-1.0, 1.0)
        rises = (slopes * widths).cumsum(dim=0)
        heights = torch.cat([rises.new_zeros(1), rises])
        return slopes, heights + (self.values.mean() - heights.mean())

    def forward(self, inputs: Tensor) -> Tensor:
        """Of the shape of ``inputs``, element by element."""
        slopes, heights = self.line_pieces()
        points = inputs.detach().contiguous()
        piece = torch.bucketize(points, self.knots[1:-1], right=True)
        return heights[piece] + slopes[piece] * (inputs - self.knots[piece])

    def fixed(self) -> FixedSpline:
        """The function as it is now."""
        with torch.no_grad():
            slopes, heights = self.line_pieces()
        return FixedSpline(slopes, self.knots, heights)


class FixedSpline(nn.Module):
    """``shift + sum_k slope_k clamp(x, a_k, b_k)``: a spline in words every file has.

    On piece k all clamps but its own are constant, so that its slope is not rounded.

    Args:
        slopes: of the pieces ``(P,)``.
        knots: ``(P + 1,)``; the outer pieces go on beyond the first and the last.
        heights: the function's values at the knots.
    """

    def __init__(self, slopes: Tensor, knots: Tensor, heights: Tensor) -> None:
        super().__init__()
        inner = knots[1:-1].tolist()
        ends = zip([-math.inf, *inner], [*inner, math.inf], strict=True)
        self.first, *others = (
            ClampedLine(slope, low, high)
            for slope, (low, high) in zip(slopes.tolist(), ends, strict=True)
        )
        self.pieces = nn.ModuleList(others)
        # at the first inner knot every later clamp stands at its lower end
        starts = torch.cat([knots[1:2], knots[1:-1]]).double()
        shift = heights[1].double() - slopes.double() @ starts
        self.shift = shift.to(heights.dtype).item()

    def forward(self, inputs: Tensor) -> Tensor:
        """Of the shape of ``inputs``, element by element."""
        total: Tensor = self.first(inputs)
        for piece in self.pieces:
            total = total + piece(inputs)
        return total + self.shift


class ClampedLine(nn.Module):
    """``slope clamp(x, low, high)``; either end may be infinite."""

    def __init__(self, slope: float, low: float, high: float) -> None:
        super().__init__()
        self.slope = slope
        self.low = low
        self.high = high

    def forward(self, inputs: Tensor) -> Tensor:
        """Of the shape of ``inputs``, element by element."""
        return self.slope * inputs.clamp(self.low, self.high)
