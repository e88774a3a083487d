"""How a map from a space to itself behaves as a step of an iteration; torch-free.

F is c-monotone on the box where ``<F(x) - F(y), x - y> >= c |x - y|^2`` for all x and y
of it, and the largest such c is its monotonicity constant. With L the Lipschitz
constant of the displacement ``x -> x - F(x)`` in L2, ``c >= 1 - L``, since

    <F(x) - F(y), x - y> = |x - y|^2 - <(x - F(x)) - (y - F(y)), x - y>.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from robustcert.results.bound import Bracket, Witness
from robustcert.results.report import ModelCard, Provenance


@dataclass(frozen=True, slots=True)
class MonotonicityBound:
    """The map's monotonicity constant, on the box, is at most ``value``.

    The witness attains it: its ratio is ``<F(x) - F(y), x - y> / |x - y|^2``, rounded
    up. Below 0, the map is not monotone.
    """

    value: float
    witness: Witness


@dataclass(frozen=True, slots=True)
class MonotonicityReport:
    """Both constants of a map, from both sides.

    Attributes:
        model: the map.
        displacement: Lipschitz constant of ``x -> x - F(x)``, in L2.
        at_most: by the worst pair that was found.
        provenance: how it came about.
    """

    model: ModelCard
    displacement: Bracket
    at_most: MonotonicityBound
    provenance: Provenance

    @property
    def at_least(self) -> float:
        """What the displacement proves; minus infinity where it has no bound."""
        upper = self.displacement.upper
        return (
            -math.inf if upper is None else math.nextafter(1 - upper.value, -math.inf)
        )
