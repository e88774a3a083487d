"""What is known so far about each sample while the attacks run."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from robustcert.attacks.verify import Verification
from robustcert.results.attack import AdversarialExample

CLEAN = "clean"
"""Finder of the samples that the model gets wrong unperturbed."""


class Ledger:
    """The smallest verified adversarial example of each sample, and who found it.

    Attributes:
        margins: ``(N,)`` clean margins.
        certified: ``(N,)`` certified radii in input units.
        distances: ``(N,)`` of the smallest examples; 0 where the model is wrong,
            infinite where nothing was found.
        nearest: ``(N,)`` the smallest margin that a candidate within the radius at hand
            has reached; before any did, what a straight line through the clean margin
            and the known example says.
        withstood: ``(N,)`` largest radius at which no attack broke it; 0 at first.
        starts: ``(N,)`` int64 place of the attack that broke the sample last.

    Args:
        margins: ``(N,)`` clean margins; a sample is wrong, at distance 0, if <= 0.
        certified: ``(N,)`` certified radii in input units, 0 where nothing is proved.
    """

    def __init__(self, margins: Tensor, certified: Tensor) -> None:
        wrong = margins <= 0.0
        self.margins = margins
        self.certified = certified
        self.distances = torch.full_like(margins, math.inf).masked_fill(wrong, 0.0)
        self.nearest = margins.clone()
        self.withstood = torch.zeros_like(margins)
        self.starts = torch.zeros_like(margins, dtype=torch.int64)
        self.finders: list[str | None] = [CLEAN if w else None for w in wrong.tolist()]
        self.adversarial: dict[int, Tensor] = {}

    def reopen(self) -> None:
        """Begin with other attacks: what withstood the ones so far is open again."""
        self.withstood.zero_()

    def enter(self, epsilon: float) -> None:
        """Begin at a radius: margins reached in another ball say little about it."""
        share = (epsilon / self.distances).nan_to_num(nan=1.0, posinf=1.0)
        self.nearest = self.margins * (1.0 - share)

    def leave(self, epsilon: float) -> None:
        """End at a radius: what is still open there has withstood the attacks."""
        self.withstood[self.open_at(epsilon)] = epsilon

    def open_at(self, epsilon: float) -> Tensor:
        """Positions of samples worth an attack at ``epsilon``.

        Neither broken within it, nor certified there, nor did it withstand the attacks
        at this radius or a larger one, whose ball holds this one.
        """
        settled = self.certified.maximum(self.withstood) >= epsilon
        return ((self.distances > epsilon) & ~settled).nonzero().flatten()

    def robust_share(self, epsilon: float) -> float:
        """Share of the samples that are right and not broken at ``epsilon``."""
        return float((self.distances > epsilon).double().mean())

    def by_hope(self, rows: Tensor) -> Tensor:
        """``rows``, those with the smallest margin reached so far first."""
        return rows[torch.argsort(self.nearest[rows], stable=True)]

    def approach(self, rows: Tensor, reached: Tensor) -> None:
        """Keep ``(M,)`` margins that candidates within the radius have reached."""
        self.nearest[rows] = self.nearest[rows].minimum(reached)

    def record(self, rows: Tensor, found: Verification, finder: str) -> None:
        """Keep what is smaller than before.

        Args:
            rows: ``(M,)`` positions of the samples.
            found: M examples, all passed.
            finder: name of the attack.
        """
        for place, row in enumerate(rows.tolist()):
            if not found.distances[place] < self.distances[row]:
                continue
            self.distances[row] = found.distances[place]
            self.finders[row] = finder
            self.adversarial[row] = found.inputs[place].clone()

    def forget(self, rows: Sequence[int]) -> None:
        """Drop examples that did not stand up."""
        for row in rows:
            self.distances[row], self.finders[row] = math.inf, None
            del self.adversarial[row]

    def examples(self) -> tuple[AdversarialExample, ...]:
        """One example for each broken sample, in the samples' order."""
        return tuple(
            AdversarialExample(index, float(self.distances[index]), finder)
            for index, finder in enumerate(self.finders)
            if finder is not None
        )
