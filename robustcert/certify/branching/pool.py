"""Leaves that are still open, in slots that are used again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.certify.branching.program import Leaves


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """B leaves.

    Attributes:
        owner: ``(B,)`` which form the leaf is about.
        value: ``(B,)`` float64: a proved lower bound of the form on the leaf.
        leaves: the multipliers and the splits.
    """

    owner: Tensor
    value: Tensor
    leaves: Leaves

    def __len__(self) -> int:
        """The number of leaves."""
        return self.owner.shape[0]

    def rows(self, chosen: Tensor) -> Batch:
        """The leaves at positions ``chosen`` (or where a mask is true)."""
        return Batch(self.owner[chosen], self.value[chosen], self.leaves.rows(chosen))


@dataclass(slots=True, eq=False)
class Pool:
    """The open leaves of P trees; together they cover what is not settled.

    A free slot has the value infinity, so that it counts for no minimum.
    """

    batch: Batch
    forms: int

    @staticmethod
    def of_roots(value: Tensor, leaves: Leaves) -> Pool:
        """One root a form: ``value`` ``(P,)`` and P rows of multipliers."""
        own = Leaves(
            leaves.slopes.clone(),
            leaves.prices.expand(len(value), -1).clone(),
            leaves.splits.expand(len(value), -1).clone(),
        )
        known = torch.fmax(
            value, torch.full_like(value, -torch.inf)
        )  # NaN says nothing
        return Pool(Batch(torch.arange(len(value)), known, own), len(value))

    @property
    def open_slots(self) -> Tensor:
        """Slots in use."""
        return (self.batch.value < torch.inf).nonzero().flatten()

    def least(self) -> Tensor:
        """``(P,)``: the smallest bound among each form's open leaves, else infinity."""
        start = torch.full((self.forms,), torch.inf, dtype=torch.float64)
        return start.scatter_reduce(0, self.batch.owner, self.batch.value, "amin")

    def worst(self, most: int) -> Tensor:
        """Up to ``most`` slots in use, smallest bounds first."""
        count = min(most, len(self.open_slots))
        return self.batch.value.topk(count, largest=False).indices

    def worst_and_nearest(self, most: int) -> Tensor:
        """Up to ``most`` slots in use: smallest bounds, then the nearest trees' leaves.

        One half finds what breaks a form. The other half finishes the trees of which
        least is missing, one after the other: a finished tree need not be grown again.
        """
        worst = self.worst(most // 2)
        slots = self.open_slots
        slots = slots[~torch.isin(slots, worst)]
        order = slots[self.batch.value[slots].argsort()]
        missing = -self.least()[self.batch.owner[order]]
        nearest = order[missing.argsort(stable=True)]
        return torch.cat([worst, nearest[: most - len(worst)]])

    def worst_of_each(self, most: int) -> Tensor:
        """Slots of the smallest bounds, equally many of each form with open leaves.

        About ``most`` together, but one a form at least.
        """
        slots = self.open_slots
        owner, value = self.batch.owner[slots], self.batch.value[slots]
        order = value.argsort()
        order = order[owner[order].argsort(stable=True)]
        counts = owner.bincount(minlength=self.forms)
        starts = counts.cumsum(0) - counts
        ranks = torch.arange(owner.shape[0]) - starts[owner[order]]
        share = max(1, most // max(1, int((counts > 0).sum())))
        return slots[order[ranks < share]]

    def close(self, forms: Tensor) -> None:
        """Forget the leaves of the forms where the mask ``(P,)`` is true."""
        self.batch.value[forms[self.batch.owner]] = torch.inf

    def replace(self, slots: Tensor, batch: Batch) -> None:
        """Put ``batch`` where the leaves in ``slots`` stood, and wherever is room."""
        self.batch.value[slots] = torch.inf
        free = (self.batch.value == torch.inf).nonzero().flatten()
        if len(free) < len(batch):
            free = torch.cat([free, self._grow(len(batch))])
        free = free[: len(batch)]
        for kept, new in zip(_tensors(self.batch), _tensors(batch), strict=True):
            kept[free] = new

    def _grow(self, extra: int) -> Tensor:
        """At least ``extra`` slots more."""
        old = self.batch
        more = extra + len(old)
        grown = [
            torch.cat([part, part.new_zeros(more, *part.shape[1:])])
            for part in _tensors(old)
        ]
        owner, value, slopes, prices, splits = grown
        value[len(old) :] = torch.inf
        self.batch = Batch(owner, value, Leaves(slopes, prices, splits))
        return torch.arange(len(old), len(old) + more)


def _tensors(batch: Batch) -> tuple[Tensor, ...]:
    leaves = batch.leaves
    return batch.owner, batch.value, leaves.slopes, leaves.prices, leaves.splits
