"""The proof of one step, frequency by frequency."""

from __future__ import annotations

from dataclasses import dataclass

from robustcert.lipschitz.check.covariance import Covariance, times_powers
from robustcert.lipschitz.check.definite import Array
from robustcert.lipschitz.check.frontier import (
    Activity,
    Frontier,
    carry_of,
    spread_of,
)
from robustcert.lipschitz.check.maps import Maps
from robustcert.lipschitz.check.passage import Passage
from robustcert.lipschitz.check.step import dominating
from robustcert.lipschitz.check.sums import Gathering, Sum

_ENTRIES = 2**20
"""Numbers in the matrices of the frequencies that are proved together."""


@dataclass(frozen=True, slots=True, eq=False)
class Journey:
    """All that a step's proof needs."""

    covariance: Covariance
    frontier: Frontier
    activity: Activity | None
    maps: Maps
    passage: Passage

    def linear_maps(self, chosen: slice) -> tuple[Array | None, Array]:
        """C ``(B, r, n)``, or ``None``, and B ``(B, r, m)`` on the passage's scale."""
        rows, to = self.maps.rows(chosen), self.passage
        down = to.exponents[:, None]
        spread = spread_of(rows, self.frontier, self.activity)
        spread = times_powers(
            spread[:, to.rows][:, :, to.units], to.column_exponents[to.places] - down
        )
        carry = carry_of(rows, self.frontier, self.activity)
        if carry is None:
            return None, spread
        carry = carry[:, to.rows][:, :, to.columns]
        return times_powers(carry, to.column_exponents - down), spread


def proved(journey: Journey, gathering: Gathering) -> Array | None:
    """``(F', r, r)`` the next covariances; ``None`` where one could not be proved.

    Frequencies are taken in parts, so that their matrices fit into little memory.
    """
    to, matrices = journey.passage, journey.covariance.matrices
    width = len(to.exponents)
    total = Sum(gathering, width)
    size = max(1, _ENTRIES // (width + len(to.places) + 1) ** 2)
    for first in range(0, len(matrices) if width else 0, size):
        chosen = slice(first, first + size)
        found = dominating(to, *journey.linear_maps(chosen), matrices[chosen])
        if found is None:
            return None
        total.add(chosen, found)
    return total.result()
