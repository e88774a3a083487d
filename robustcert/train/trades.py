"""TRADES: cross-entropy, and how far predictions move inside the ball.

Reference:
    Zhang, Yu, Jiao, Xing, El Ghaoui, Jordan. Theoretically Principled Trade-off between
        Robustness and Accuracy. ICML 2019, equation (5) and Algorithm 1. beta is
        1 / lambda there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustcert.errors import UsageError
from robustcert.train.ascent import Climb
from robustcert.train.ascent_options import AscentOptions, climb_of
from robustcert.train.interface import (
    Batch,
    Fitted,
    Moment,
    Plan,
    TrainingData,
    drawn_from,
)
from robustcert.train.requirements import require_fixed_layers, require_labels

PURPOSE = 32
NUDGE = 1e-3
"""Deviation of the starts, in input units: at the input itself the slope is 0."""

_ASCENT = AscentOptions()


@dataclass(frozen=True, slots=True)
class TradesOptions:
    """What inputs are moved by, and how much moved predictions count.

    Attributes:
        beta: weight of the moved predictions; 0 is plain cross-entropy.
        ascent: of the divergence.
    """

    beta: float = 6.0
    ascent: AscentOptions = _ASCENT


@dataclass(frozen=True, slots=True)
class TradesFit:
    """``CE(f(x), y) + beta KL(p(x) || p(x'))`` at the x' that moves p most.

    Attributes:
        climb: of the divergence.
        beta: >= 0.
        seed: of the starts, which differ from step to step.
    """

    climb: Climb
    beta: float
    seed: int

    def __post_init__(self) -> None:
        if not self.beta >= 0.0:
            raise UsageError(
                f"beta is {self.beta}, not at least 0",
                remedy="Give the weight of the moved predictions, such as 6.",
            )

    def __call__(self, model: nn.Module, batch: Batch, moment: Moment) -> Fitted:
        """The loss; the outputs at the batch's own inputs."""
        outputs = model(batch.inputs)
        natural = F.cross_entropy(outputs, batch.targets)
        worst = self._worst(model, batch.inputs, outputs.detach(), moment)
        moved = divergences(outputs, model(worst)).mean()
        return Fitted(natural + self.beta * moved, outputs)

    def _worst(
        self, model: nn.Module, inputs: Tensor, outputs: Tensor, moment: Moment
    ) -> Tensor:
        generator = drawn_from(self.seed, PURPOSE, moment.step)
        noise = torch.randn(inputs.shape, generator=generator).to(inputs)
        return self.climb(
            model,
            inputs,
            inputs + NUDGE * noise,
            lambda logits: divergences(outputs, logits),
        )


def divergences(outputs: Tensor, moved: Tensor) -> Tensor:
    """``(B,)`` KL divergences ``KL(p || q)`` of the softmax of logits ``(B, K)``.

    Args:
        outputs: logits of p.
        moved: logits of q.
    """
    natural, other = outputs.log_softmax(dim=1), moved.log_softmax(dim=1)
    return (natural.exp() * (natural - other)).sum(dim=1)


def trades_fit(
    model: nn.Module, data: TrainingData, options: TradesOptions, plan: Plan
) -> TradesFit:
    """The fit for one training.

    Raises:
        UnsupportedLayerError: ``model`` has batch norm or dropout.
        SamplesError: the targets are no labels.
        UnknownNameError: no norm has that name.
        InvalidThreatModelError: epsilon is no radius.
        UsageError: beta is below 0, or the steps lead nowhere.
    """
    require_labels(data)
    require_fixed_layers(model)
    climb = climb_of(options.ascent, data.box)
    return TradesFit(climb, options.beta, plan.seed)
