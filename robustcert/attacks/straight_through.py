"""Attack through what has no derivative: straight through it, or by differences.

A model that rounds its input is piecewise constant: its gradient is zero, and gradient
attacks report its clean accuracy. BPDA differentiates another function there; that of
a rounding is the identity. Where no path leads back to the input (comparisons, lookups,
casts to integers), the slope is estimated from differences at the scale of epsilon.

Reference:
    Athalye, Carlini, Wagner. Obfuscated Gradients Give a False Sense of Security. ICML
        2018. (BPDA, section 4.1.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from robustcert.attacks.differences import difference_gradients
from robustcert.attacks.interface import Attack, Target, lacks_norm
from robustcert.attacks.losses import (
    likeliest_others,
    negative_margin,
    targeted_margin,
)
from robustcert.attacks.straight_gradients import RowLoss, straight_gradients
from robustcert.attacks.walk import Uphill, trailhead, walk
from robustcert.models.interface import LoadedModel
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.threat_model import ThreatModel

NAME = "straight-through"

STEPS = 40
TARGETS = 9
"""Classes to walk towards, one after the other, once the margin has been climbed."""


@dataclass(frozen=True, slots=True)
class StraightThrough:
    """Climb the margin, then each of the likeliest other classes.

    Attributes:
        name: in the catalogue.
        norms: the norms it can attack in.
        minimal: it looks within epsilon.
        steps: of each walk.
        targets: classes to walk towards.
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
        margin, *towards = row_losses(target, self.targets)
        walk(
            target, spanned(target, straight_uphill(target, margin)), self.steps, trail
        )
        for loss in towards:
            walk(target, straight_uphill(target, loss), self.steps, trail)
        return trail.points


def row_losses(target: Target, targets: int) -> list[RowLoss]:
    """The margin, then the margin to each of the likeliest other classes in turn."""
    labels = target.labels
    losses: list[RowLoss] = [partial(_away, labels=labels)]
    if not len(labels):
        return losses
    with torch.no_grad():
        logits = target.model.logits(target.inputs)
    others = likeliest_others(logits, labels, targets).unbind(dim=1)
    return losses + [partial(_towards, labels=labels, others=one) for one in others]


def _away(logits: Tensor, rows: Tensor, *, labels: Tensor) -> Tensor:
    return negative_margin(logits, labels[rows])


def _towards(logits: Tensor, rows: Tensor, *, labels: Tensor, others: Tensor) -> Tensor:
    return targeted_margin(logits, labels[rows], others[rows])


def straight_uphill(target: Target, loss: RowLoss) -> Uphill:
    """The slope of the model's loss, straight through what is piecewise constant."""
    view = target.model.logits
    return lambda points, rows: straight_gradients(view, points, loss, rows)


def spanned(target: Target, uphill: Uphill) -> Uphill:
    """``uphill``; differences of the margin where it knows no direction."""
    generator = torch.Generator(target.inputs.device).manual_seed(target.seed)

    def spanning(points: Tensor, rows: Tensor) -> Tensor:
        found = uphill(points, rows)
        flat = (found == 0.0).flatten(1).all(dim=1)
        if flat.any():
            task = target.subset(rows[flat])
            found[flat] = difference_gradients(task, points[flat], generator)
        return found

    return spanning


ROWS: dict[str, Attack] = {NAME: StraightThrough()}
