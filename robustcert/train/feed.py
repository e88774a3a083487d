"""The batches of an epoch, with a share of extra examples in each.

Extra examples, such as those of a generative model, do not lengthen an epoch: it is
over when each training example was seen once.

Reference:
    Altstidl, Dobre, Eskofier, Schwinn. Raising the Bar for Certified Adversarial
        Robustness with Diffusion Models. arXiv 2305.10388, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from robustcert.errors import SamplesError, UsageError
from robustcert.train.interface import Batch, drawn_from

_ORDER = 1
_EXTRA = 4


@dataclass(frozen=True, slots=True, eq=False)
class Extra:
    """More examples, with a weight of their own.

    Attributes:
        examples: of the same kind as the training's.
        share: of each batch that is drawn from them, in [0, 1).

    Raises:
        UsageError: the share is none.
        SamplesError: there are no examples.
    """

    examples: Batch
    share: float

    def __post_init__(self) -> None:
        """Refuse a share that leaves no training examples."""
        if not 0.0 <= self.share < 1.0:
            raise UsageError(
                f"{self.share:g} is no share of a batch",
                remedy="Give a share of at least 0 and less than 1.",
            )
        if len(self.examples) == 0:
            raise SamplesError("there are no extra examples")


@dataclass(frozen=True, slots=True, eq=False)
class Feed:
    """Where the batches come from.

    Attributes:
        training: each of its examples is seen once an epoch.
        batch: examples a step; the last step of an epoch may have fewer.
        seed: of the orders.
        extra: fills a share of each batch.
    """

    training: Batch
    batch: int
    seed: int
    extra: Extra | None = None

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return math.ceil(len(self.training) / self._own)

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of one epoch; the same whenever it is asked for again."""
        place = self.training.inputs.device
        count = len(self.training)
        order = torch.randperm(count, generator=drawn_from(self.seed, _ORDER, number))
        drawn = drawn_from(self.seed, _EXTRA, number)
        for chosen in torch.split(order.to(place), self._own):
            yield self._filled(self.training.rows(chosen), drawn)

    @property
    def _own(self) -> int:
        """Training examples in a whole batch."""
        if self.extra is None:
            return self.batch
        return max(1, round(self.batch * (1.0 - self.extra.share)))

    def _filled(self, own: Batch, drawn: torch.Generator) -> Batch:
        if self.extra is None:
            return own
        share, examples = self.extra.share, self.extra.examples
        wanted = round(len(own) * share / (1.0 - share))
        chosen = torch.randint(len(examples), (wanted,), generator=drawn)
        more = examples.rows(chosen.to(examples.inputs.device))
        return Batch(
            torch.cat([own.inputs, more.inputs]),
            torch.cat([own.targets, more.targets]),
        )
