"""The plain fits: cross-entropy of labels, mean squared error of values."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import nn

from robustcert.train.interface import Batch, Fit, Fitted, Moment, TrainingData


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """Mean cross-entropy of logits ``(B, K)`` against labels ``(B,)``."""

    def __call__(
        self,
        model: nn.Module,
        batch: Batch,
        moment: Moment,  # noqa: ARG002 - the protocol's
    ) -> Fitted:
        """The loss at the batch's own inputs."""
        outputs = model(batch.inputs)
        return Fitted(F.cross_entropy(outputs, batch.targets), outputs)


@dataclass(frozen=True, slots=True)
class MeanSquared:
    """Mean of ``(output - target)^2`` over the B x K values of a batch."""

    def __call__(
        self,
        model: nn.Module,
        batch: Batch,
        moment: Moment,  # noqa: ARG002 - the protocol's
    ) -> Fitted:
        """The loss at the batch's own inputs."""
        outputs = model(batch.inputs)
        return Fitted(F.mse_loss(outputs, batch.targets), outputs)


def plain_fit(data: TrainingData) -> Fit:
    """Cross-entropy where the targets are labels, mean squared error of values."""
    if data.training.targets.is_floating_point():
        return MeanSquared()
    return CrossEntropy()
