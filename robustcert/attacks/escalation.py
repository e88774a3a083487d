"""What to run once something is known to hinder the attacks that ran."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from robustcert.attacks.interface import Attack, Target
from robustcert.attacks.straight_through import StraightThrough
from robustcert.models.interface import LoadedModel
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.report import Finding
from robustcert.results.soundness import RESOLVED_BY
from robustcert.results.threat_model import ThreatModel

ONE_BY_ONE = "one-by-one"

ESCALATIONS: dict[str, tuple[str, ...]] = {
    **RESOLVED_BY,
    "random-output": ("apgd-ce-eot",),
}
"""By finding, the attacks that do not depend on what is wrong, in order."""


def escalations(findings: Iterable[Finding], ran: Sequence[str]) -> tuple[str, ...]:
    """The attacks that ``findings`` call for and that did not run yet, each once.

    Args:
        findings: about the model and about the attacks that ran.
        ran: names of the attacks that ran.
    """
    wanted = (name for one in findings for name in ESCALATIONS.get(one.rule, ()))
    return tuple(name for name in dict.fromkeys(wanted) if name not in ran)


@dataclass(frozen=True, slots=True)
class OneByOne:
    """An attack that shows the model one input at a time, as verification does.

    For models that answer an input by the company it is in.

    Attributes:
        name: in the catalogue.
        norms: the norms it can attack in.
        minimal: it looks within epsilon.
        attack: what is run on each sample.
    """

    name: str = ONE_BY_ONE
    norms: frozenset[Norm] = frozenset(THREAT_NORMS)
    minimal: bool = False
    attack: Attack = field(
        default_factory=partial(StraightThrough, steps=20, targets=3)
    )

    def refusal(self, model: LoadedModel, threat: ThreatModel) -> str | None:
        """Why the attack cannot run here, ``None`` where it can."""
        return self.attack.refusal(model, threat)

    def perturb(self, target: Target) -> Tensor:
        """Candidates ``(N, *input_shape)``."""
        rows = torch.arange(len(target.inputs), device=target.inputs.device)
        found = [
            self.attack.perturb(target.subset(row)) for row in torch.split(rows, 1)
        ]
        return torch.cat([*found, target.inputs[:0]])


ROWS: dict[str, Attack] = {ONE_BY_ONE: OneByOne()}
