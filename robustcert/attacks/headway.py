"""How far an attack got with the samples that it was given."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from robustcert.attacks.interface import Target


@dataclass(frozen=True, slots=True)
class Headway:
    """Counts of samples.

    Attributes:
        rows: that the attack was given.
        moved: whose candidate is not the sample itself.
        gained: whose margin is smaller at the candidate.
    """

    rows: int = 0
    moved: int = 0
    gained: int = 0

    def __add__(self, other: Headway) -> Headway:
        return Headway(
            self.rows + other.rows,
            self.moved + other.moved,
            self.gained + other.gained,
        )


def headway(
    target: Target, candidates: Tensor, after: Tensor, before: Tensor
) -> Headway:
    """What an attack's candidates say about its ascent.

    Args:
        target: the N samples.
        candidates: ``(N, *shape)`` as the attack returned them.
        after: ``(N,)`` margins at the candidates; NaN counts as no gain.
        before: ``(N,)`` margins at the samples.
    """
    moved = (candidates.double() != target.inputs.double()).flatten(1).any(dim=1)
    return Headway(len(moved), int(moved.sum()), int((after < before).sum()))
