"""Running sums of an epoch, kept on the device so that no step waits for them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.train.interface import Fitted, Observed


@dataclass(frozen=True, slots=True, eq=False)
class Account:
    """What B examples add up to.

    Attributes:
        loss: ``()``, summed over the examples.
        right: ``()``, how many are answered correctly; NaN for values.
        count: B.
    """

    loss: Tensor
    right: Tensor
    count: int

    def plus(self, other: Account) -> Account:
        """Both together."""
        return Account(
            self.loss + other.loss, self.right + other.right, self.count + other.count
        )

    def observed(self, penalty: Tensor | None) -> Observed:
        """Means as numbers, fetched from the device at once.

        Args:
            penalty: its last value; ``None`` where it had none.
        """
        means = [self.loss / self.count, self.right / self.count]
        if penalty is None:
            loss, accuracy = torch.stack(means).tolist()
            return Observed(accuracy, loss, math.nan)
        loss, accuracy, last = torch.stack([*means, penalty]).tolist()
        return Observed(accuracy, loss, last)


def account(fitted: Fitted, targets: Tensor) -> Account:
    """The account of one batch."""
    loss, count = fitted.loss.detach(), len(targets)
    if targets.is_floating_point():
        right = torch.full_like(loss, math.nan)
    else:
        right = (fitted.outputs.detach().argmax(1) == targets).sum().to(loss)
    return Account(loss * count, right, count)
