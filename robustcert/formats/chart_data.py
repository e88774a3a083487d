"""The values the charts show, computed from rows and bounds, never from pictures."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from robustcert.results.bound import Bracket
from robustcert.results.numbers import number_down, number_up
from robustcert.results.plain_text import plain_text
from robustcert.results.report import SampleRow

Values = list[dict[str, Any]]

STEPS = 160
BINS = 24
_METHOD = 32


@dataclass(frozen=True, slots=True)
class Shares:
    """Certified and robust accuracy of ``rows`` at any epsilon, in logarithmic time."""

    count: int
    right: int
    radii: tuple[float, ...]
    distances: tuple[float, ...]

    def certified(self, epsilon: float) -> float:
        """Share right and proved at ``epsilon``."""
        if epsilon == 0.0:
            return self.right / self.count
        return (len(self.radii) - bisect_left(self.radii, epsilon)) / self.count

    def robust(self, epsilon: float) -> float:
        """Share right and not broken at ``epsilon``."""
        return (self.right - bisect_right(self.distances, epsilon)) / self.count


def shares(rows: Sequence[SampleRow]) -> Shares:
    """The shares of ``rows``, which obey the laws."""
    right = [row for row in rows if row.right]
    radii = [row.certified_radius for row in right if row.certified_by is not None]
    distances = [
        row.adversarial_distance
        for row in right
        if row.adversarial_distance is not None
    ]
    return Shares(len(rows), len(right), tuple(sorted(radii)), tuple(sorted(distances)))


def band(rows: Sequence[SampleRow], epsilons: Sequence[float]) -> Values:
    """Corner points of the band of the true robust accuracy, from 0 to the last radius.

    Between two neighbouring grid points the certified side takes its value at the
    right end and the robust side at the left end. Both curves fall, so the band holds
    everywhere, also where the grid is coarser than the jumps.
    """
    of = shares(rows)
    corners: Values = []
    for left, right in pairwise(_grid(of, epsilons)):
        low, high = of.certified(right), of.robust(left)
        corners += [
            {"epsilon": epsilon, "certified": low, "robust": high}
            for epsilon in (left, right)
        ]
    return corners


def _grid(of: Shares, epsilons: Sequence[float]) -> list[float]:
    last = epsilons[-1]
    jumps = {e for e in (*of.radii, *of.distances) if 0.0 < e < last}
    if len(jumps) > STEPS:
        jumps = {last * step / STEPS for step in range(1, STEPS)}
    return sorted({0.0, *jumps, *epsilons})


def bound_marks(bracket: Bracket) -> Values:
    """One entry a finite positive bound, the best of each side in the middle."""
    lowers = sorted(bracket.lowers, key=lambda bound: bound.value)
    uppers = sorted(bracket.uppers, key=lambda bound: bound.value)
    marks = [
        _mark("lower", bound.method, bound.value, f"\u2265 {number_down(bound.value)}")
        for bound in lowers
        if bound.value > 0.0
    ]
    marks += [
        _mark("upper", bound.method, bound.value, f"\u2264 {number_up(bound.value)}")
        for bound in uppers
        if 0.0 < bound.value < math.inf
    ]
    return [mark | {"row": row} for row, mark in enumerate(marks)]


def _mark(side: str, method: str, value: float, label: str) -> dict[str, Any]:
    caption = f"{plain_text(method, _METHOD)} {label}"
    return {"side": side, "value": value, "caption": caption}


def histogram(values: Sequence[float], top: float) -> Values:
    """Counts of ``values`` in equal bins from 0 to ``top``."""
    counts = [0] * BINS
    for value in values:
        counts[min(BINS - 1, int(value / top * BINS))] += 1
    return [
        {"start": top * i / BINS, "end": top * (i + 1) / BINS, "count": count}
        for i, count in enumerate(counts)
    ]
