"""Adversarial training: cross-entropy at the worst inputs that an ascent finds.

Reference:
    Madry, Makelov, Schmidt, Tsipras, Vladu. Towards Deep Learning Models Resistant to
        Adversarial Attacks. ICLR 2018.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustcert.train.ascent import Climb, anywhere
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

PURPOSE = 31


@dataclass(frozen=True, slots=True)
class AdversarialFit:
    """Cross-entropy at the ends of ascents from random starts.

    Attributes:
        climb: of cross-entropy.
        seed: of the starts, which differ from step to step.
    """

    climb: Climb
    seed: int

    def __call__(self, model: nn.Module, batch: Batch, moment: Moment) -> Fitted:
        """The loss at the worst inputs; the outputs at the batch's own."""
        generator = drawn_from(self.seed, PURPOSE, moment.step)
        starts = anywhere(batch.inputs, self.climb.threat, generator)
        worst = self.climb(
            model, batch.inputs, starts, lambda logits: _losses(logits, batch.targets)
        )
        with torch.no_grad():
            outputs = model(batch.inputs)
        return Fitted(_losses(model(worst), batch.targets).mean(), outputs)


def adversarial_fit(
    model: nn.Module, data: TrainingData, options: AscentOptions, plan: Plan
) -> AdversarialFit:
    """The fit for one training.

    Raises:
        UnsupportedLayerError: ``model`` has batch norm or dropout.
        SamplesError: the targets are no labels.
        UnknownNameError: no norm has that name.
        InvalidThreatModelError: epsilon is no radius.
        UsageError: the steps lead nowhere.
    """
    require_labels(data)
    require_fixed_layers(model)
    return AdversarialFit(climb_of(options, data.box), plan.seed)


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, reduction="none")
