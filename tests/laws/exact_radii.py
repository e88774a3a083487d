"""Robust radii in rational arithmetic: floats are fractions, so nothing is rounded."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from torch import Tensor

from robustcert.results.norm import Norm
from robustcert.results.threat_model import Box

Row = Sequence[Fraction]


def fractions_of(values: Tensor) -> list[Fraction]:
    """The numbers of a vector, exactly."""
    return [Fraction(value) for value in values.tolist()]


def linear_gaps(
    weight: Tensor, bias: Tensor, point: Tensor, label: int
) -> list[tuple[Fraction, Row]]:
    """``f_y - f_k`` at the point and its slope, for every other class k."""
    rows = [fractions_of(row) for row in weight]
    shifts, inputs = fractions_of(bias), fractions_of(point)
    gaps = []
    for other in range(len(rows)):
        if other != label:
            pairs = zip(rows[label], rows[other], strict=True)
            slope = [mine - theirs for mine, theirs in pairs]
            value = sum(s * x for s, x in zip(slope, inputs, strict=True))
            gaps.append((value + shifts[label] - shifts[other], slope))
    return gaps


def exceeds_linear_radius(
    radius: float, gaps: Sequence[tuple[Fraction, Row]], norm: Norm
) -> bool:
    """Whether some gap falls to 0 or below strictly within the radius, boxes apart."""
    reach = Fraction(radius)
    for gap, slope in gaps:
        if norm is Norm.LINF:
            falls = reach * sum(abs(s) for s in slope) > gap
        else:
            falls = reach**2 * sum(s * s for s in slope) > gap * gap
        if gap < 0 or falls:
            return True
    return False


class HatNet:
    """One input, one hidden layer of ReLU: its gaps are broken lines.

    Args:
        inner: weights ``(H,)`` and biases of the hidden units.
        outer: weights ``(K, H)`` and biases of the logits.
    """

    def __init__(
        self, inner: tuple[Tensor, Tensor], outer: tuple[Tensor, Tensor]
    ) -> None:
        self._slopes, self._shifts = (fractions_of(values) for values in inner)
        self._rows = [fractions_of(row) for row in outer[0]]
        self._biases = fractions_of(outer[1])

    def gaps(self, point: Fraction, label: int) -> list[Fraction]:
        """``f_y - f_k`` for every other class k."""
        units = [
            max(Fraction(0), slope * point + shift)
            for slope, shift in zip(self._slopes, self._shifts, strict=True)
        ]
        logits = [
            sum(w * u for w, u in zip(row, units, strict=True)) + bias
            for row, bias in zip(self._rows, self._biases, strict=True)
        ]
        return [logits[label] - z for k, z in enumerate(logits) if k != label]

    def radius(self, point: float, label: int, box: Box) -> Fraction | None:
        """The distance to the nearest input where a gap is 0; ``None`` for none."""
        start = Fraction(point)
        if min(self.gaps(start, label)) <= 0:
            return Fraction(0)
        ends = [
            self._first_zero(start, label, Fraction(edge))
            for edge in (box.low, box.high)
        ]
        return min((abs(end - start) for end in ends if end is not None), default=None)

    def _first_zero(
        self, start: Fraction, label: int, edge: Fraction
    ) -> Fraction | None:
        """On the way to the edge of the box, from kink to kink."""
        here = start
        for there in self._stops(start, edge):
            pairs = zip(self.gaps(here, label), self.gaps(there, label), strict=True)
            shares = [gap / (gap - end) for gap, end in pairs if end <= 0]
            if shares:
                return here + (there - here) * min(shares)
            here = there
        return None

    def _stops(self, start: Fraction, edge: Fraction) -> list[Fraction]:
        kinks = [
            -shift / slope
            for slope, shift in zip(self._slopes, self._shifts, strict=True)
            if slope != 0
        ]
        low, high = min(start, edge), max(start, edge)
        between = [kink for kink in kinks if low < kink < high]
        return [*sorted(between, key=lambda kink: abs(kink - start)), edge]
