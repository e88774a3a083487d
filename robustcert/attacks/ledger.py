"""What is known so far about each sample while the attacks run."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustcert.attacks.verify import Verification
from robustcert.results.attack import AdversarialExample

CLEAN = "clean"
"""Finder of the samples that the model gets wrong unperturbed."""


class Ledger:
    """The smallest verified adversarial example of each sample, and who found it.

    Args:
        margins: ``(N,)`` clean margins; a sample is wrong, at distance 0, if <= 0.
        certified: ``(N,)`` certified radii in input units, 0 where nothing is proved.
    """

    def __init__(self, margins: Tensor, certified: Tensor) -> None:
        wrong = margins <= 0.0
        self.certified = certified
        self.distances = torch.full_like(margins, math.inf).masked_fill(wrong, 0.0)
        self.finders: list[str | None] = [CLEAN if w else None for w in wrong.tolist()]
        self.adversarial: dict[int, Tensor] = {}

    def open_at(self, broken: float, certified: float) -> Tensor:
        """Positions of samples worth an attack.

        Args:
            broken: samples broken at or below this epsilon are left out.
            certified: samples certified at or above this epsilon are left out.
        """
        unbroken = self.distances > broken
        return (unbroken & ~(self.certified >= certified)).nonzero().flatten()

    def record(self, rows: Tensor, found: Verification, finder: str) -> int:
        """Keep what is smaller than before.

        Args:
            rows: ``(M,)`` positions of the samples.
            found: M examples, all passed.
            finder: name of the attack.

        Returns:
            How many of the samples had not been broken before.
        """
        fresh = 0
        for place, row in enumerate(rows.tolist()):
            if not found.distances[place] < self.distances[row]:
                continue
            fresh += math.isinf(self.distances[row])
            self.distances[row] = found.distances[place]
            self.finders[row] = finder
            self.adversarial[row] = found.inputs[place].clone()
        return fresh

    def examples(self) -> tuple[AdversarialExample, ...]:
        """One example for each broken sample, in the samples' order."""
        return tuple(
            AdversarialExample(index, float(self.distances[index]), finder)
            for index, finder in enumerate(self.finders)
            if finder is not None
        )
