"""What an attack is given, and what every attack can do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from robustcert.attacks.surrogate import Surrogate
from robustcert.models.interface import LoadedModel
from robustcert.results.norm import Norm
from robustcert.results.threat_model import ThreatModel


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """Some samples of one model, under one threat model.

    Attributes:
        model: the model to fool.
        inputs: ``(N, *input_shape)``, inside the box, on the model's device.
        labels: ``(N,)`` int64.
        threat: norm, epsilon (input units) and box.
        seed: of every random step.
        surrogate: the model's smooth twin; ``None`` where its graph is not known or
            has no kinks.
    """

    model: LoadedModel
    inputs: Tensor
    labels: Tensor
    threat: ThreatModel
    seed: int
    surrogate: Surrogate | None = None

    def subset(self, rows: Tensor) -> Target:
        """The same task on ``rows`` (positions) alone."""
        return replace(self, inputs=self.inputs[rows], labels=self.labels[rows])


class Attack(Protocol):
    """One row of the catalogue. What it returns is verified again by others.

    Attributes:
        name: in the catalogue and in reports.
        norms: the norms it can attack in.
        minimal: whether one run serves every epsilon, because the attack looks for
            the smallest perturbation or knows no epsilon. It sees each sample once, at
            the largest epsilon; others see it again at epsilons below its distance.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - the class docstring lists the attributes
    @property
    def norms(self) -> frozenset[Norm]: ...  # noqa: D102 - as above
    @property
    def minimal(self) -> bool: ...  # noqa: D102 - as above

    def refusal(self, model: LoadedModel, threat: ThreatModel) -> str | None:
        """Why the attack cannot run here, ``None`` where it can."""
        ...

    def perturb(self, target: Target) -> Tensor:
        """Candidates ``(N, *input_shape)``: mere claims, right or wrong."""
        ...


def lacks_norm(attack: Attack, threat: ThreatModel) -> str | None:
    """A refusal where the attack has no version for the threat's norm."""
    if threat.norm in attack.norms:
        return None
    return f"it has no {threat.norm.word} version"
