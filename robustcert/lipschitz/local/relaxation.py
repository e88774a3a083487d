"""Two lines around an activation on an interval.

References:
    Zhang et al. Efficient Neural Network Robustness Certification with General
        Activation Functions. NeurIPS 2018. (CROWN.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.piecewise import pieces_of
from robustcert.lipschitz.local.intervals import Interval, point_values
from robustcert.lipschitz.local.slopes import slopes_on
from robustcert.lipschitz.rounding import UNIT


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """``below_slope z + below_shift <= s(z) <= above_slope z + above_shift``.

    All ``(1, *shape)``; the floats are the lines, exactly.
    """

    below_slope: Tensor
    below_shift: Tensor
    above_slope: Tensor
    above_shift: Tensor


def lines_around(activation: Activation, source: Interval) -> Lines:
    """Lines that hold wherever the activation's input is in ``source``."""
    if _is_convex_with_one_kink(activation):
        return _kinked(activation, source)
    if activation.kind is ActivationKind.SPLINE:
        return _over_knots(activation, source)
    return _parallel(activation, source)


def _is_convex_with_one_kink(activation: Activation) -> bool:
    if activation.kind is ActivationKind.LEAKY_RELU:
        return activation.parameters[0] <= 1.0
    return activation.kind is ActivationKind.RELU


def _kinked(activation: Activation, source: Interval) -> Lines:
    """The chord above; below, the piece of the longer side, through the kink at 0."""
    least, most = slopes_on(activation, source.low, source.high)
    width = source.high - source.low
    # From s(high) = high down to s(low) = least * low; for one piece, that piece.
    chord = least + (most - least) * (source.high / width)
    chord = torch.where(least < most, chord.clamp(least, most), least)
    heights = (
        (least - chord) * source.low * (1.0 + 4.0 * UNIT),
        (most - chord) * source.high * (1.0 + 4.0 * UNIT),
    )
    rounding = 8.0 * UNIT * source.size * torch.maximum(least.abs(), most.abs())
    above = torch.maximum(*heights) + rounding
    zero = torch.zeros_like(chord)
    return Lines(
        torch.where(source.high > -source.low, most, least),
        zero,
        chord,
        torch.where(least < most, above, zero),
    )


def _over_knots(activation: Activation, source: Interval) -> Lines:
    """Two lines along the chord, as close as lines along it can be.

    What a spline is away from them is greatest at an end or at a knot.
    """
    least, most = slopes_on(activation, source.low, source.high)
    points = torch.stack([source.low, source.high])
    ends = point_values(activation, points)
    width = source.high - source.low
    chord = torch.where(width > 0.0, (ends.low[1] - ends.low[0]) / width, least)
    chord = torch.minimum(torch.maximum(chord, least), most)
    lowest = (ends.low - chord * points).amin(dim=0)
    highest = (ends.high - chord * points).amax(dim=0)
    reach = ends.size.amax(dim=0)
    for knot in pieces_of(activation.parameters).knots:
        place = source.low.clamp(min=knot).minimum(source.high)
        there = point_values(activation, place)
        lowest = torch.minimum(lowest, there.low - chord * place)
        highest = torch.maximum(highest, there.high - chord * place)
        reach = torch.maximum(reach, there.size)
    rounding = 16.0 * UNIT * (chord.abs() * source.size + reach)
    return Lines(chord, lowest - rounding, chord, highest + rounding)


def _parallel(activation: Activation, source: Interval) -> Lines:
    """Two lines along the chord, for slopes between ``least`` and ``most``.

    With k the chord's slope, ``s(z) - k z`` starts and ends on the same height. In
    between it can rise by ``most - k`` and fall by ``k - least`` a unit, so that over
    the width w it gets ``(most - k) (k - least) w / (most - least)`` away at most.
    """
    least, most = slopes_on(activation, source.low, source.high)
    first = point_values(activation, source.low)
    last = point_values(activation, source.high)
    width = source.high - source.low
    chord = torch.where(width > 0.0, (last.low - first.low) / width, least)
    chord = torch.minimum(torch.maximum(chord, least), most)
    span = torch.where(most > least, most - least, torch.ones_like(chord))
    away = (most - chord) * ((chord - least) / span) * width * (1.0 + 32.0 * UNIT)
    moved = chord.abs() * source.size
    sizes = torch.maximum(last.size, first.size)
    rounding = 16.0 * UNIT * (moved + sizes + away)
    lows = first.low - chord * source.low, last.low - chord * source.high
    highs = first.high - chord * source.low, last.high - chord * source.high
    return Lines(
        chord,
        torch.minimum(*lows) - away - rounding,
        chord,
        torch.maximum(*highs) + away + rounding,
    )
