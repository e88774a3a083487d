"""Slopes of activations on intervals, rounded outwards.

The slope between any two points of an interval lies between the smallest and the
largest derivative there.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.piecewise import pieces_of
from robustcert.lipschitz.rounding import UNIT

Pair = tuple[Tensor, Tensor]

_ERROR = 64.0 * UNIT
"""Of a computed derivative, absolute where it is of order 1, relative for bells."""

_FLAT = 50.0
"""From here on the derivatives of GELU and SiLU are 0 or 1 to the last digit."""

_NEAR = 1e-6  # how closely the extremes of a derivative are located
_PEAKS = {
    ActivationKind.SILU: 2.399357280515468,
    ActivationKind.GELU: math.sqrt(2.0),
    ActivationKind.GELU_TANH: 1.418504008790828,
}
_GELU_SCALE = math.sqrt(2.0 / math.pi)
_GELU_CUBIC = 0.044715


def slopes_on(activation: Activation, lower: Tensor, upper: Tensor) -> Pair:
    """Smallest and largest slope of the activation on each interval.

    Args:
        activation: any.
        lower: lower ends in float64, minus infinity where there is none.
        upper: upper ends, of the same shape, at least ``lower``.

    Returns:
        Bounds of the same shape: no two points of an interval have a steeper or a
        flatter chord. Exact for ReLU, leaky ReLU and clamp; for the others, above or
        below by some units in the last place.
    """
    low, high = _RULES[activation.kind](activation, lower, upper)
    least, most = activation.slopes
    return (
        torch.fmax(low, torch.full_like(low, least)),
        torch.fmin(high, torch.full_like(high, most)),
    )


def _relu(_: Activation, lower: Tensor, upper: Tensor) -> Pair:
    return _two_pieces(lower, upper, 0.0)


def _leaky_relu(activation: Activation, lower: Tensor, upper: Tensor) -> Pair:
    return _two_pieces(lower, upper, activation.parameters[0])


def _two_pieces(lower: Tensor, upper: Tensor, slope: float) -> Pair:
    """``slope`` on the negative side, 1 on the positive one."""
    one, other = torch.ones_like(lower), torch.full_like(lower, slope)
    left = torch.where(lower < 0.0, other, one)
    right = torch.where(upper > 0.0, one, other)
    return torch.minimum(left, right), torch.maximum(left, right)


def _clamp(activation: Activation, lower: Tensor, upper: Tensor) -> Pair:
    first, last = activation.parameters
    return _plateau(lower, upper, first, last)


def _hardsigmoid(_: Activation, lower: Tensor, upper: Tensor) -> Pair:
    low, high = _plateau(lower, upper, -3.0, 3.0)
    return low * (1.0 / 6.0), high * math.nextafter(1.0 / 6.0, 1.0)


def _plateau(lower: Tensor, upper: Tensor, first: float, last: float) -> Pair:
    """Slope 1 between ``first`` and ``last``, 0 outside."""
    inside = (lower >= first) & (upper <= last)
    touches = (upper > first) & (lower < last)
    return inside.to(lower), touches.to(lower)


def _spline(activation: Activation, lower: Tensor, upper: Tensor) -> Pair:
    """The extremes of the slopes from the first piece to the last one that is met.

    They may be rounded sums; knots never are.
    """
    pieces = pieces_of(activation.parameters)
    knots, slopes = (
        torch.tensor(numbers, dtype=lower.dtype, device=lower.device)
        for numbers in (pieces.knots, pieces.slopes)
    )
    # an end that is no number is as far out as it can be
    start = lower.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    end = upper.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)
    right = torch.searchsorted(knots, start.contiguous(), right=True)
    left = torch.searchsorted(knots, end.contiguous())
    # an interval that is a knot, and nothing more, touches the pieces on both sides
    first, last = torch.minimum(left, right), torch.maximum(left, right)
    square = slopes.expand(len(slopes), -1)
    before = torch.ones_like(square, dtype=torch.bool).tril(-1)
    least = square.masked_fill(before, torch.inf).cummin(dim=1).values
    most = square.masked_fill(before, -torch.inf).cummax(dim=1).values
    low, high = least[first, last], most[first, last]
    return low - 2.0 * UNIT * low.abs(), high + 2.0 * UNIT * high.abs()


def _hardswish(_: Activation, lower: Tensor, upper: Tensor) -> Pair:
    """Slope ``(2 x + 3) / 6`` between -3 and 3, 0 on the left and 1 on the right."""
    start, end = lower.clamp(min=-3.0), upper.clamp(max=3.0)
    middle = (upper > -3.0) & (lower < 3.0)
    low = torch.where(middle, (2.0 * start + 3.0) / 6.0 - _ERROR, 1.0)
    high = torch.where(middle, (2.0 * end + 3.0) / 6.0 + _ERROR, 0.0)
    left = (lower < -3.0) | (upper <= -3.0)
    right = (upper > 3.0) | (lower >= 3.0)
    low = torch.where(left, low.clamp(max=0.0), low)
    high = torch.where(left, high.clamp(min=0.0), high)
    return (
        torch.where(right, low.clamp(max=1.0), low),
        torch.where(right, high.clamp(min=1.0), high),
    )


def _sigmoid(_: Activation, lower: Tensor, upper: Tensor) -> Pair:
    return _bell(lower, upper, 0.25)


def _tanh(_: Activation, lower: Tensor, upper: Tensor) -> Pair:
    """``tanh'(x) = 4 sigmoid'(2 x)``."""
    return _bell(2.0 * lower, 2.0 * upper, 1.0)


def _bell(lower: Tensor, upper: Tensor, height: float) -> Pair:
    """An even derivative that falls from ``height`` at 0: ``4 height sigmoid'``."""
    straddles = (lower <= 0.0) & (upper >= 0.0)
    near = torch.where(straddles, 0.0, torch.minimum(lower.abs(), upper.abs()))
    far = torch.maximum(lower.abs(), upper.abs())
    return (
        4.0 * height * _logistic_slope(far) * (1.0 - _ERROR),
        4.0 * height * _logistic_slope(near) * (1.0 + _ERROR) + 1e-300,
    )


def _logistic_slope(points: Tensor) -> Tensor:
    """``exp(-|x|) / (1 + exp(-|x|))^2``: nothing cancels."""
    tail = (-points.abs()).exp()
    return tail / (1.0 + tail).square()


def _softplus(activation: Activation, lower: Tensor, upper: Tensor) -> Pair:
    """The derivative is ``sigmoid(beta x)``."""
    ends = [activation.parameters[0] * end for end in (lower, upper)]
    low, high = torch.minimum(*ends), torch.maximum(*ends)
    # Rounding beta x by a share u moves the sigmoid by a share |beta x| u at most.
    return (
        low.sigmoid() * (1.0 - _growth(low)),
        high.sigmoid() * (1.0 + _growth(high)) + 1e-300,
    )


def _elu(activation: Activation, lower: Tensor, upper: Tensor) -> Pair:
    """``scale`` on the positive side, ``scale alpha c exp(c x)`` on the negative."""
    alpha, scale, inner = activation.parameters
    steep = scale * alpha * inner
    starts, ends = inner * lower, inner * upper.clamp(max=0.0)
    tails = [
        steep * tail.exp() * (1.0 + sign * _growth(tail))
        for tail in (starts, ends)
        for sign in (-1.0, 1.0)
    ]
    falling = torch.stack(tails).amin(dim=0) - 1e-300
    rising = torch.stack(tails).amax(dim=0) + 1e-300
    negative, positive = lower < 0.0, upper > 0.0
    low = torch.where(negative, falling, scale)
    high = torch.where(negative, rising, scale)
    return (
        torch.where(positive, low.clamp(max=scale), low),
        torch.where(positive, high.clamp(min=scale), high),
    )


def _growth(argument: Tensor) -> Tensor:
    """Relative error of an exponential whose argument was rounded, at most 1."""
    return (_ERROR * (1.0 + argument.abs())).clamp(max=1.0)


def _hump(activation: Activation, lower: Tensor, upper: Tensor) -> Pair:
    """A derivative from 0 down to its minimum at -p, up to its maximum at p, to 1."""
    peak = _PEAKS[activation.kind]
    least, most = activation.slopes
    start, end = lower.clamp(-_FLAT, _FLAT), upper.clamp(-_FLAT, _FLAT)
    ends = [_DERIVATIVES[activation.kind](end) for end in (start, end)]
    low, high = torch.minimum(*ends) - _ERROR, torch.maximum(*ends) + _ERROR
    return (
        torch.where(_holds(lower, upper, -peak), least, low),
        torch.where(_holds(lower, upper, peak), most, high),
    )


def _holds(lower: Tensor, upper: Tensor, point: float) -> Tensor:
    return (lower <= point + _NEAR) & (upper >= point - _NEAR)


def _silu_slope(x: Tensor) -> Tensor:
    return x.sigmoid() + x * _logistic_slope(x)


def _gelu_slope(x: Tensor) -> Tensor:
    density = (-0.5 * x.square()).exp() / math.sqrt(2.0 * math.pi)
    below: Tensor = torch.special.ndtr(x)
    return below + x * density


def _gelu_tanh_slope(x: Tensor) -> Tensor:
    inner = _GELU_SCALE * (x + _GELU_CUBIC * x**3)
    growth = _GELU_SCALE * (1.0 + 3.0 * _GELU_CUBIC * x.square())
    # The derivative of tanh(q) is 4 sigmoid'(2 q); (1 + tanh(q)) / 2 = sigmoid(2 q).
    return (2.0 * inner).sigmoid() + 2.0 * x * growth * _logistic_slope(2.0 * inner)


_DERIVATIVES: dict[ActivationKind, Callable[[Tensor], Tensor]] = {
    ActivationKind.SILU: _silu_slope,
    ActivationKind.GELU: _gelu_slope,
    ActivationKind.GELU_TANH: _gelu_tanh_slope,
}

_RULES: dict[ActivationKind, Callable[[Activation, Tensor, Tensor], Pair]] = {
    ActivationKind.RELU: _relu,
    ActivationKind.LEAKY_RELU: _leaky_relu,
    ActivationKind.ELU: _elu,
    ActivationKind.SIGMOID: _sigmoid,
    ActivationKind.TANH: _tanh,
    ActivationKind.SOFTPLUS: _softplus,
    ActivationKind.SILU: _hump,
    ActivationKind.GELU: _hump,
    ActivationKind.GELU_TANH: _hump,
    ActivationKind.CLAMP: _clamp,
    ActivationKind.HARDSIGMOID: _hardsigmoid,
    ActivationKind.HARDSWISH: _hardswish,
    ActivationKind.SPLINE: _spline,
}
