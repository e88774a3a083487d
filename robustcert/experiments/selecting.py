"""Selecting an epoch by accuracy under an attack."""

from __future__ import annotations

import math
from dataclasses import dataclass

from robustcert.experiments.sign_ascent import SignAscent
from robustcert.train.selection import Candidate


@dataclass(frozen=True, slots=True)
class AttackAccuracy:
    """Accuracy of a candidate under an attack, on the first validation examples.

    Attributes:
        attack: the attack.
        count: how many examples.
        first: epochs before it do not count: a weight that is still growing has not
            acted there.
    """

    attack: SignAscent
    count: int
    first: int

    def __call__(self, candidate: Candidate) -> float:
        """The higher, the better; NaN before the first epoch that counts."""
        if candidate.epoch.number < self.first:
            return math.nan
        shown = candidate.validation.rows(slice(0, self.count))
        return self.attack.accuracy(candidate.model, shown)
