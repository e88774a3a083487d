"""Several attacks as one: each takes what the ones before it left."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.attacks.interface import Attack, Target, lacks_norm
from robustcert.attacks.verify import fooled, settle
from robustcert.models.interface import LoadedModel
from robustcert.results.norm import Norm
from robustcert.results.threat_model import ThreatModel


@dataclass(frozen=True, slots=True)
class Ladder:
    """Attacks in order; a sample leaves once it is fooled inside the budget.

    Attributes:
        name: in the catalogue.
        norms: the norms it can attack in.
        rungs: in order; those that refuse a model are left out.
        minimal: whether one run serves every epsilon.
    """

    name: str
    norms: frozenset[Norm]
    rungs: tuple[Attack, ...]
    minimal: bool = False

    def refusal(self, model: LoadedModel, threat: ThreatModel) -> str | None:
        """Why no rung can run here, ``None`` where one can."""
        if lack := lacks_norm(self, threat):
            return lack
        reasons = [rung.refusal(model, threat) for rung in self.rungs]
        return None if None in reasons else reasons[0]

    def perturb(self, target: Target) -> Tensor:
        """Candidates ``(N, *input_shape)``."""
        candidates = target.inputs.double()
        left = torch.arange(len(candidates), device=candidates.device)
        for rung in self.rungs:
            if not len(left) or rung.refusal(target.model, target.threat):
                continue
            task = target.subset(left)
            tried = rung.perturb(task).double()
            candidates[left] = tried
            stored = settle(tried, task.inputs, task.threat, target.model.dtype)
            left = left[~fooled(target.model, stored, task.labels)]
        return candidates
