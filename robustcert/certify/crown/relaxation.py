"""Two lines around an activation on each interval of a batch.

Where the activation is convex with one kink, any slope between its two will do below.
All others get the lines that are closest at the middle of the interval: their slope is
found on a grid of points, their height is proved between the points.

References:
    Zhang et al. Efficient Neural Network Robustness Certification with General
        Activation Functions. NeurIPS 2018. (CROWN.)
    Xu et al. Fast and Complete: Enabling Complete Verification with Rapid and Massively
        Parallel Incomplete Verifiers. ICLR 2021. (Free lower slopes.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.piecewise import pieces_of
from robustcert.lipschitz.local.intervals import Interval, point_values
from robustcert.lipschitz.local.relaxation import lines_around as simple_lines
from robustcert.lipschitz.local.slopes import slopes_on
from robustcert.lipschitz.rounding import UNIT

_POINTS = 17
_BISECTIONS = 14


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """``below_slope z + below_shift <= s(z) <= above_slope z + above_shift``.

    All ``(N, *shape)``; the floats are the lines, exactly.

    Attributes:
        below_slope: of the line below.
        below_shift: its value at 0.
        above_slope: of the line above.
        above_shift: its value at 0.
        freedom: smallest and largest slope that holds below with the same shift.
    """

    below_slope: Tensor
    below_shift: Tensor
    above_slope: Tensor
    above_shift: Tensor
    freedom: tuple[Tensor, Tensor] | None = None

    def to(self, dtype: torch.dtype) -> Lines:
        """The same rounded to nearest: for searches."""
        freedom = self.freedom
        return Lines(
            self.below_slope.to(dtype),
            self.below_shift.to(dtype),
            self.above_slope.to(dtype),
            self.above_shift.to(dtype),
            None if freedom is None else (freedom[0].to(dtype), freedom[1].to(dtype)),
        )

    @property
    def steepest(self) -> Tensor:
        """Largest absolute slope of any line that may be used."""
        slopes = [self.below_slope, self.above_slope, *(self.freedom or ())]
        return torch.stack([slope.abs() for slope in slopes]).amax(dim=0)

    @property
    def highest(self) -> Tensor:
        """Largest absolute shift."""
        return torch.maximum(self.below_shift.abs(), self.above_shift.abs())


def lines_around(activation: Activation, source: Interval) -> Lines:
    """Lines that hold wherever the activation's input is in ``source``.

    Args:
        activation: any.
        source: ``(N, *shape)`` float64.
    """
    if not _is_convex_with_one_kink(activation):
        return _closest_lines(activation, source)
    beyond = torch.nextafter(source.high, torch.full_like(source.high, torch.inf))
    wide = torch.where(source.high > source.low, source.high, beyond)
    lines = simple_lines(activation, Interval(source.low, wide))
    return Lines(
        lines.below_slope,
        lines.below_shift,
        lines.above_slope,
        lines.above_shift,
        slopes_on(activation, source.low, wide),
    )


def open_units(activation: Activation, source: Interval) -> Tensor:
    """Units whose slope their interval leaves open: bool, of the interval's shape."""
    low, high = slopes_on(activation, source.low, source.high)
    if activation.kind is ActivationKind.HARDSIGMOID:
        return high > low * 1.5  # 1/6 is no float: an ulp does not count
    return high > low


def _is_convex_with_one_kink(activation: Activation) -> bool:
    if activation.kind is ActivationKind.LEAKY_RELU:
        return activation.parameters[0] <= 1.0
    return activation.kind is ActivationKind.RELU


@dataclass(frozen=True, slots=True, eq=False)
class _Curve:
    """An activation on P points and on the P - 1 pieces between them.

    All ``(P, N, *shape)`` or ``(P - 1, N, *shape)``.
    """

    points: Tensor
    values: Interval
    least: Tensor
    most: Tensor

    def negated(self) -> _Curve:
        """The same for minus the activation."""
        turned = Interval(-self.values.high, -self.values.low)
        return _Curve(self.points, turned, -self.most, -self.least)


def _closest_lines(activation: Activation, source: Interval) -> Lines:
    points = _grid(activation, source)
    least, most = slopes_on(activation, points[:-1], points[1:])
    curve = _Curve(points, point_values(activation, points), least, most)
    slope_below, shift_below = _line_below(curve)
    slope_above, shift_above = _line_below(curve.negated())
    return Lines(slope_below, shift_below, -slope_above, -shift_above)


def _grid(activation: Activation, source: Interval) -> Tensor:
    """Points ``(P, N, *shape)`` in order from end to end, with all kinks.

    Others are denser near 0; straight pieces need none.
    """
    kinks = [torch.full_like(source.low, kink) for kink in _kinks(activation)]
    inner = () if activation.kind is ActivationKind.SPLINE else _between_ends(source)
    points = torch.stack([source.low, *inner, *kinks, source.high])
    within = torch.maximum(torch.minimum(points, source.high), source.low)
    return within.sort(dim=0).values


def _between_ends(source: Interval) -> Tensor:
    """Points ``(_POINTS - 2, N, *shape)`` inside the interval, denser near 0."""
    steps = torch.linspace(
        0.0, 1.0, _POINTS, dtype=source.low.dtype, device=source.low.device
    )
    first, last = source.low.asinh(), source.high.asinh()
    shares = steps.reshape(-1, *(1,) * source.low.ndim)
    return (first + shares * (last - first)).sinh()[1:-1]


def _kinks(activation: Activation) -> tuple[float, ...]:
    match activation.kind:
        case ActivationKind.CLAMP:
            return activation.parameters
        case ActivationKind.HARDSIGMOID | ActivationKind.HARDSWISH:
            return (-3.0, 3.0)
        case ActivationKind.ELU | ActivationKind.LEAKY_RELU:
            return (0.0,)
        case ActivationKind.SPLINE:
            return pieces_of(activation.parameters).knots
        case _:
            return ()


def _line_below(curve: _Curve) -> tuple[Tensor, Tensor]:
    """Slope and shift of a line below the curve, nearly the highest at the middle.

    The height at the middle is a concave function of the slope k: its derivative is
    the middle minus the point at which ``s(z) - k z`` is least.
    """
    points, heights = curve.points, curve.values.low
    middle = points[0] / 2.0 + points[-1] / 2.0
    low, high = curve.least.amin(dim=0), curve.most.amax(dim=0)
    for _ in range(_BISECTIONS):
        slope = (low + high) / 2.0
        lowest = (heights - slope * points).argmin(dim=0, keepdim=True)
        left = points.gather(0, lowest)[0] < middle
        low, high = torch.where(left, slope, low), torch.where(left, high, slope)
    slope = (low + high) / 2.0
    return slope, _shift_below(curve, slope)


def _shift_below(curve: _Curve, slope: Tensor) -> Tensor:
    """The largest c that is proved: ``slope z + c <= s(z)`` between the ends.

    On a piece of width w, ``g(z) = s(z) - k z`` starts at a and falls by ``p = k -
    least`` a unit at most, and ends at b, rising by ``q = most - k`` at most. Both
    together, weighted with q and p: ``g >= (q a + p b - p q w) / (p + q)``.
    """
    points, heights = curve.points, curve.values.low
    gaps = heights - slope * points
    first, last, width = gaps[:-1], gaps[1:], points[1:] - points[:-1]
    fall, rise = slope - curve.least, curve.most - slope
    total = fall + rise
    dip = (rise * first + fall * last) / total - fall * (rise / total) * width
    shift = torch.where(fall <= 0.0, first, torch.where(rise <= 0.0, last, dip))
    sizes = heights.abs() + slope.abs() * points.abs()
    moved = (fall.abs() + rise.abs()) * width
    rounding = 64.0 * UNIT * (torch.maximum(sizes[:-1], sizes[1:]) + moved)
    return (shift - rounding).amin(dim=0)
