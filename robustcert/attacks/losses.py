"""What attacks climb; each row of ``(N, K)`` logits has a loss of its own.

All losses but cross-entropy are blind to the logits' scale once gradients are taken as
directions; :func:`temperatures` does the same for cross-entropy.

References:
    Carlini, Wagner. Towards Evaluating the Robustness of Neural Networks. S&P 2017.
        (The margin.)
    Croce, Hein. Reliable Evaluation of Adversarial Robustness with an Ensemble of
        Diverse Parameter-free Attacks. ICML 2020. (DLR, equations 6 and 7.)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from robustcert.tensors import margins

Loss = Callable[[Tensor, Tensor], Tensor]
"""``(N,)`` from logits ``(N, K)`` and labels ``(N,)``; attacks make it large."""

TargetedLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The same with a class ``(N,)`` to become, other than the label."""

DLR_CLASSES = 3
"""DLR divides by the distance to the third largest logit."""
TARGETED_DLR_CLASSES = 4
"""Its targeted version by that to the mean of the third and the fourth."""

SPREAD = 10.0
"""Of logits under cross-entropy: a wider row's softmax is one-hot in float32."""


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Of the label's class."""
    return F.cross_entropy(logits, labels, reduction="none")


def negative_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The best other logit against the label's."""
    return -margins(logits, labels)


def targeted_margin(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The target's logit against the label's."""
    return _at(logits, targets) - _at(logits, labels)


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    """Difference of logits ratio; K >= 3."""
    ordered = logits.sort(dim=1, descending=True).values
    width = ordered[:, 0] - ordered[:, DLR_CLASSES - 1]
    return negative_margin(logits, labels) / _positive(width)


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Difference of logits ratio towards a class; K >= 4."""
    ordered = logits.sort(dim=1, descending=True).values
    middle = 0.5 * (ordered[:, 2] + ordered[:, TARGETED_DLR_CLASSES - 1])
    return targeted_margin(logits, labels, targets) / _positive(ordered[:, 0] - middle)


def temperatures(logits: Tensor) -> Tensor:
    """``(N, 1)`` factors that bring the rows' spreads down to :data:`SPREAD`.

    Taken once at the samples and kept: a factor that followed the query would hide
    whether the loss rises.
    """
    spread = (logits.amax(dim=1) - logits.amin(dim=1)).detach().clamp(min=SPREAD)
    return (SPREAD / spread)[:, None]


def likeliest_others(logits: Tensor, labels: Tensor, count: int) -> Tensor:
    """``(N, min(count, K - 1))`` classes other than the label, likeliest first."""
    others = logits.detach().scatter(1, labels[:, None], -math.inf)
    return others.topk(min(count, logits.shape[1] - 1), dim=1).indices


def _at(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None]).squeeze(1)


def _positive(width: Tensor) -> Tensor:
    return width.clamp(min=torch.finfo(width.dtype).tiny ** 0.5)
