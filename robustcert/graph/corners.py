"""Piecewise linear functions of one number, in exact arithmetic.

Numbers are fractions: what is added, multiplied and divided here is not rounded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from robustcert.graph.activations import Activation, ActivationKind


@dataclass(frozen=True, slots=True)
class Line:
    """``scale * z + shift`` of the layer z at ``root``; the scale is not 0."""

    root: int
    scale: Fraction
    shift: Fraction

    @property
    def slope(self) -> Fraction:
        """As a function of the root."""
        return self.scale

    @property
    def jumps(self) -> list[tuple[Fraction, Fraction]]:
        """None."""
        return []

    def at(self, root: Fraction) -> Fraction:
        """The value where the root has this one."""
        return self.scale * root + self.shift


@dataclass(frozen=True, slots=True)
class Corners:
    """A piecewise linear function.

    Attributes:
        slope: in front of all jumps.
        jumps: where the slope changes, in order, and by how much; at least one.
        value: at the first jump.
    """

    slope: Fraction
    jumps: tuple[tuple[Fraction, Fraction], ...]
    value: Fraction

    def at(self, argument: Fraction) -> Fraction:
        """The function's value, exactly."""
        value = self.value + self.slope * (argument - self.jumps[0][0])
        bent = (by * max(argument - at, Fraction(0)) for at, by in self.jumps)
        return sum(bent, value)


@dataclass(frozen=True, slots=True)
class Bend:
    """An activation of a line."""

    corners: Corners
    line: Line

    @property
    def slope(self) -> Fraction:
        """As a function of the root, in front of all jumps."""
        own = self.corners.slope
        if self.line.scale < 0:
            own += sum(by for _, by in self.corners.jumps)
        return self.line.scale * own

    @property
    def jumps(self) -> list[tuple[Fraction, Fraction]]:
        """As a function of the root."""
        scale, shift = self.line.scale, self.line.shift
        return [
            ((at - shift) / scale, abs(scale) * by) for at, by in self.corners.jumps
        ]

    def at(self, root: Fraction) -> Fraction:
        """The value where the root has this one."""
        return self.corners.at(self.line.at(root))


def corners_of(activation: Activation) -> Corners | None:
    """``None`` for activations that have no corners, or curves."""
    zero, one = Fraction(0), Fraction(1)
    match activation.kind, activation.parameters:
        case ActivationKind.RELU, _:
            return Corners(zero, ((zero, one),), zero)
        case ActivationKind.LEAKY_RELU, (slope,) if math.isfinite(slope):
            return Corners(Fraction(slope), ((zero, one - Fraction(slope)),), zero)
        case ActivationKind.HARDSIGMOID, _:
            rise = Fraction(1, 6)
            return Corners(zero, ((Fraction(-3), rise), (Fraction(3), -rise)), zero)
        case ActivationKind.CLAMP, (low, high) if low < high:
            return _clamp_corners(low, high)
    return None


def _clamp_corners(low: float, high: float) -> Corners | None:
    """Either end may be infinite; ``None`` where both are."""
    ends = ((low, Fraction(1)), (high, Fraction(-1)))
    jumps = tuple((Fraction(at), by) for at, by in ends if math.isfinite(at))
    slope = Fraction(0 if math.isfinite(low) else 1)
    return Corners(slope, jumps, jumps[0][0]) if jumps else None
