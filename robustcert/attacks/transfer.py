"""Climb a stand-in for the model, and judge every step on the model itself.

Stand-ins have slopes where the model has none or misleading ones: the model averaged
over noise (differentiated straight through its roundings), and its smooth twin.
Examples made on a stand-in often fool the model.

References:
    Papernot, McDaniel, Goodfellow. Transferability in Machine Learning. 2016.
    Smilkov et al. SmoothGrad: Removing Noise by Adding Noise. 2017. (Slopes averaged
        over noise.)
    Athalye, Carlini, Wagner. Obfuscated Gradients Give a False Sense of Security. ICML
        2018.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from robustcert.attacks.differences import coordinate_reach
from robustcert.attacks.interface import Attack, Target, lacks_norm
from robustcert.attacks.slope import View
from robustcert.attacks.straight_gradients import RowLoss, straight_gradients
from robustcert.attacks.straight_through import row_losses
from robustcert.attacks.walk import Uphill, trailhead, walk
from robustcert.models.interface import LoadedModel
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.threat_model import ThreatModel
from robustcert.tensors import clip_to_box

NAME = "transfer"

STEPS = 30
DRAWS = 4
"""Noisy copies behind one averaged slope."""
REACHES = (1.0, 4.0)
"""Scales of the noise, in multiples of what epsilon allows a coordinate."""
SHARPNESSES = (3.0, 30.0)
"""Of the smooth twin, with noise of the smallest scale."""
TARGETS = 3


@dataclass(frozen=True, slots=True)
class StandIn:
    """Something to climb in the model's place.

    Attributes:
        view: inputs to logits.
        noise: standard deviation of each coordinate's noise, in input units.
    """

    view: View
    noise: float


@dataclass(frozen=True, slots=True)
class Transfer:
    """Climb each stand-in in turn; a sample leaves once the model is fooled.

    Attributes:
        name: in the catalogue.
        norms: the norms it can attack in.
        minimal: it looks within epsilon.
        steps: of each walk.
        targets: classes to walk towards, besides climbing the margin.
    """

    name: str = NAME
    norms: frozenset[Norm] = frozenset(THREAT_NORMS)
    minimal: bool = False
    steps: int = STEPS
    targets: int = TARGETS

    def refusal(self, model: LoadedModel, threat: ThreatModel) -> str | None:  # noqa: ARG002 - the protocol's; any model will do
        """Why the attack cannot run here, ``None`` where it can."""
        return lacks_norm(self, threat)

    def perturb(self, target: Target) -> Tensor:
        """The best iterates ``(N, *input_shape)``."""
        trail = trailhead(target)
        for stand_in in stand_ins(target):
            for loss in row_losses(target, self.targets):
                walk(target, noisy_uphill(target, stand_in, loss), self.steps, trail)
        return trail.points


def stand_ins(target: Target) -> Iterator[StandIn]:
    """The model in noise of each scale, then its smooth twin where there is one."""
    size = target.inputs[0].numel() if len(target.inputs) else 1
    reach = coordinate_reach(target.threat, size)
    for multiple in REACHES:
        yield StandIn(target.model.logits, multiple * reach)
    if target.surrogate is None:
        return
    dtype = target.model.dtype
    for sharpness in SHARPNESSES:
        yield StandIn(
            partial(_twin_logits, target.surrogate.logits, dtype, sharpness), reach
        )


def _twin_logits(
    logits: Callable[[Tensor, float], Tensor],
    dtype: torch.dtype,
    sharpness: float,
    inputs: Tensor,
) -> Tensor:
    return logits(inputs.to(dtype), sharpness)


def noisy_uphill(target: Target, stand_in: StandIn, loss: RowLoss) -> Uphill:
    """Slopes of a stand-in, averaged over :data:`DRAWS` draws of its noise."""
    generator = torch.Generator(target.inputs.device).manual_seed(target.seed)

    def uphill(points: Tensor, rows: Tensor) -> Tensor:
        copies, owners = (
            points.repeat_interleave(DRAWS, 0),
            rows.repeat_interleave(DRAWS, 0),
        )
        noise = torch.randn(
            copies.shape, generator=generator, dtype=points.dtype, device=points.device
        )
        moved = clip_to_box(copies + stand_in.noise * noise, target.threat.box)
        found = straight_gradients(stand_in.view, moved, loss, owners)
        return found.reshape(len(points), DRAWS, *points.shape[1:]).mean(dim=1)

    return uphill


ROWS: dict[str, Attack] = {NAME: Transfer()}
