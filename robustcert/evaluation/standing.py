"""Both sides of each sample's robust radius, as they close in on it."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from robustcert.results.attack import AdversarialExample
from robustcert.results.consistency import CLEAN


class Standing:
    """What is known so far about the samples of one shard.

    Attributes:
        radius: ``(N,)`` float64 certified radii; 0 where nothing is proved.
        certified_by: the certifier behind each radius, ``None`` where it is 0.
        distance: ``(N,)`` float64 of the smallest verified adversarial examples; 0
            where the model is wrong, infinite where none was found.
        broken_by: who found each, ``None`` where none was found.

    Args:
        right: ``(N,)`` bool, where the model is right on the sample itself.
    """

    def __init__(self, right: Tensor) -> None:
        wrong = ~right.cpu()
        self.radius = torch.zeros(len(wrong), dtype=torch.float64)
        self.certified_by: list[str | None] = [None] * len(wrong)
        self.distance = torch.full_like(self.radius, math.inf).masked_fill(wrong, 0.0)
        self.broken_by = [CLEAN if one else None for one in wrong.tolist()]

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.radius)

    def open_at(self, epsilon: float) -> Tensor:
        """Positions of the samples that are neither certified nor broken there."""
        return ((self.radius < epsilon) & (self.distance > epsilon)).nonzero().flatten()

    def certify(self, rows: Tensor, radii: Tensor, certifier: str) -> None:
        """Keep ``(M,)`` radii of the samples at ``rows`` that exceed those known."""
        for row, radius in zip(rows.tolist(), radii.tolist(), strict=True):
            if radius > self.radius[row]:
                self.radius[row] = radius
                self.certified_by[row] = certifier

    def break_by(self, examples: Iterable[AdversarialExample]) -> None:
        """Keep what is nearer than what is known; an index is a position here."""
        for example in examples:
            if example.distance < self.distance[example.index]:
                self.distance[example.index] = example.distance
                self.broken_by[example.index] = example.attack
