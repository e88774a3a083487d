"""A minimal attack as a row of the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from robustcert.attacks.interface import Target, lacks_norm
from robustcert.attacks.minimal.nearest import firm
from robustcert.attacks.minimal.walk import Route
from robustcert.models.interface import LoadedModel
from robustcert.results.norm import Norm
from robustcert.results.threat_model import ThreatModel

Method = Callable[[Target, Route], Tensor]
"""Nearest adversarial iterates ``(N, *shape)``, in float32 at least; where a sample has
none, the iterate with the smallest margin. N >= 1, and the box has a width."""


@dataclass(frozen=True, slots=True)
class MinimalAttack:
    """Looks for the smallest perturbation, whatever epsilon is.

    Attributes:
        name: in the catalogue.
        norms: the norms it can attack in.
        method: how it searches.
        route: how long, and whose gradients it follows.
    """

    name: str
    norms: frozenset[Norm]
    method: Method
    route: Route

    @property
    def minimal(self) -> bool:
        """One run serves every epsilon."""
        return True

    def refusal(
        self,
        model: LoadedModel,  # noqa: ARG002 - the protocol's
        threat: ThreatModel,
    ) -> str | None:
        """Why the attack cannot run here, ``None`` where it can."""
        return lacks_norm(self, threat)

    def perturb(self, target: Target) -> Tensor:
        """Candidates ``(N, *input_shape)``: the nearest adversarial iterates."""
        threat = target.threat
        if not len(target.inputs) or threat.epsilon == 0.0 or threat.box.width == 0.0:
            return target.inputs
        return firm(target, self.method(target, self.route))
