"""Attacks on random models: expectation over transformation (EOT).

Reference:
    Athalye, Engstrom, Ilyas, Kwok. Synthesizing Robust Adversarial Examples. ICML 2018.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustcert.attacks.apgd.attack import Apgd
from robustcert.attacks.apgd.finds import never
from robustcert.attacks.apgd.objectives import tempered_cross_entropy
from robustcert.attacks.interface import Attack, Target
from robustcert.models.interface import LoadedModel
from robustcert.results.norm import Norm
from robustcert.results.threat_model import ThreatModel

SAMPLES = 20
"""Evaluations averaged by the version of AutoAttack for random models."""

STEPS = 100
"""Of the same."""


def averaged(model: LoadedModel, samples: int) -> LoadedModel:
    """The same model, whose output is the mean of several evaluations.

    Its gradient is the mean gradient. Each evaluation is a call of its own, because a
    model may draw once for a whole batch. Each counts as a query.

    Args:
        model: random or not.
        samples: evaluations, at least 1.
    """

    def function(inputs: Tensor) -> Tensor:
        return torch.stack([model.function(inputs) for _ in range(samples)]).mean(dim=0)

    return replace(model, function=function)


@dataclass(frozen=True, slots=True)
class Expected:
    """An attack that sees the mean of several evaluations of a random model.

    What it returns fools that mean, not each evaluation; give it an attack whose
    samples are never done early, and the mean margin ends as small as it can.

    Attributes:
        attack: any.
        samples: evaluations behind each of its queries, at least 1.
    """

    attack: Attack
    samples: int

    @property
    def name(self) -> str:
        """The attack's name, marked."""
        return f"{self.attack.name}-eot"

    @property
    def norms(self) -> frozenset[Norm]:
        """The attack's."""
        return self.attack.norms

    @property
    def minimal(self) -> bool:
        """The attack's."""
        return self.attack.minimal

    def refusal(self, model: LoadedModel, threat: ThreatModel) -> str | None:
        """The attack's."""
        return self.attack.refusal(model, threat)

    def perturb(self, target: Target) -> Tensor:
        """The attack's candidates ``(N, *input_shape)`` for the mean."""
        mean = averaged(target.model, self.samples)
        return self.attack.perturb(replace(target, model=mean))


ROWS: dict[str, Attack] = {
    row.name: row
    for row in (
        Expected(Apgd("apgd-ce", tempered_cross_entropy, STEPS, judge=never), SAMPLES),
    )
}
