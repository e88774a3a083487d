"""What a course climbs: a loss for each lane of each open sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from robustcert.attacks.losses import (
    SPREAD,
    cross_entropy,
    likeliest_others,
    negative_margin,
    targeted_margin,
)


class Objective(Protocol):
    """An aim taken at N samples.

    Attributes:
        lanes: how many lanes each start of a sample needs.
    """

    @property
    def lanes(self) -> int: ...  # noqa: D102 - the class docstring lists the attributes

    def losses(self, logits: Tensor, rows: Tensor) -> Tensor:
        """``(M,)`` from logits ``(M, K)``.

        Args:
            logits: of M = L A points, lane by lane.
            rows: ``(A,)`` positions of the samples.
        """
        ...


Aim = Callable[[Tensor, Tensor], Objective]
"""An objective from the samples' own logits ``(N, K)`` and labels ``(N,)``."""


@dataclass(frozen=True, slots=True, eq=False)
class _Margin:
    labels: Tensor
    lanes: int = 1

    def losses(self, logits: Tensor, rows: Tensor) -> Tensor:
        return negative_margin(logits, _spread(self.labels[rows], logits))


@dataclass(frozen=True, slots=True, eq=False)
class _CrossEntropy:
    labels: Tensor
    factors: Tensor
    lanes: int = 1

    def losses(self, logits: Tensor, rows: Tensor) -> Tensor:
        tempered = logits * _spread(self.factors[rows], logits)
        return cross_entropy(tempered, _spread(self.labels[rows], logits))


@dataclass(frozen=True, slots=True, eq=False)
class _Towards:
    labels: Tensor
    classes: Tensor

    @property
    def lanes(self) -> int:
        return len(self.classes)

    def losses(self, logits: Tensor, rows: Tensor) -> Tensor:
        labels = _spread(self.labels[rows], logits)
        classes = _spread(self.classes[:, rows].flatten(), logits)
        return targeted_margin(logits, labels, classes)


def margin(_: Tensor, labels: Tensor) -> Objective:
    """The best other logit against the label's."""
    return _Margin(labels)


def entropy(clean: Tensor, labels: Tensor) -> Objective:
    """Cross-entropy of logits scaled so that the sample's own are a fixed width apart.

    Unlike a temperature that only narrows, this makes a step the same at every scale.
    """
    wide = clean.to(torch.promote_types(clean.dtype, torch.float32))
    widths = wide.amax(dim=1) - wide.amin(dim=1)
    factors = SPREAD / widths.clamp(min=torch.finfo(widths.dtype).tiny ** 0.5)
    return _CrossEntropy(labels, factors[:, None])


@dataclass(frozen=True, slots=True)
class Towards:
    """A lane for each of the classes that are likeliest at the sample.

    Attributes:
        first, last: their ranks from 0, ``last`` left out; at least one class is
            taken where there are fewer.
    """

    first: int
    last: int

    def __call__(self, clean: Tensor, labels: Tensor) -> Objective:
        """The objective on these samples."""
        others = likeliest_others(clean, labels, self.last)
        first = min(self.first, others.shape[1] - 1)
        return _Towards(labels, others[:, first:].T)


def _spread(values: Tensor, logits: Tensor) -> Tensor:
    """``values`` again for each lane: as many rows as ``logits`` has."""
    return values.repeat(len(logits) // len(values), *[1] * (values.ndim - 1))
