"""How far each of the likeliest classes is, as the slopes at a point tell.

References:
    Moosavi-Dezfooli, Fawzi, Frossard. DeepFool: a Simple and Accurate Method to Fool
        Deep Neural Networks. CVPR 2016. (The nearest of the linearised boundaries,
        equation 8; here inside the box.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.attacks.interface import Target
from robustcert.attacks.losses import likeliest_others, targeted_margin
from robustcert.attacks.minimal.hyperplane import steps_onto
from robustcert.attacks.minimal.sight import Sight
from robustcert.tensors import lp_norms, rows_like

CLASSES = 9
"""The likeliest other classes, tried for each sample; AutoAttack's number."""

_SHORT = 1e-3
"""The part of a gain that rounding may cost."""


@dataclass(frozen=True, slots=True, eq=False)
class Outlook:
    """Where N samples would cross the linearised boundaries to T classes.

    Attributes:
        steps: ``(N, T, *shape)`` from the samples.
        sizes: ``(N, T)`` their norms; infinite where the boundary misses the box.
    """

    steps: Tensor
    sizes: Tensor

    @property
    def nearest(self) -> Tensor:
        """``(N, *shape)`` the smallest steps; 0 where no boundary is in reach."""
        smallest = self.sizes.min(dim=1)
        rows = torch.arange(len(self.sizes), device=self.sizes.device)
        steps = self.steps[rows, smallest.indices]
        return steps.where(rows_like(smallest.values.isfinite(), steps), 0.0)


def outlook(target: Target, origins: Tensor, points: Tensor, sight: Sight) -> Outlook:
    """Linearise at ``points`` the boundaries to the classes that are likeliest there.

    Costs a forward pass and T gradients of each sample.

    Args:
        target: N samples.
        origins: ``(N, *shape)`` the samples, in the dtype to compute in.
        points: ``(N, *shape)``, in the same dtype.
        sight: whose gradients count.
    """
    with torch.no_grad():
        logits = target.model.logits(points)
    goals = likeliest_others(logits, target.labels, CLASSES)
    rows = torch.arange(len(goals), device=goals.device)
    owners = rows.repeat_interleave(goals.shape[1])
    pairs, goals_of = target.subset(owners), goals.flatten()
    look = sight.look(
        pairs,
        points[owners],
        lambda z: targeted_margin(z, pairs.labels, goals_of),
        0.0,
    )
    moved = (points - origins)[owners]
    slant = (look.gradients * moved).flatten(1).sum(dim=1)
    gains = (slant - look.losses).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    norm, box = target.threat.norm, target.threat.box
    steps = steps_onto(origins[owners], look.gradients, gains, norm, box)
    gained = (look.gradients * steps).flatten(1).sum(dim=1)
    within = (gains > 0.0) & (gained >= gains * (1.0 - _SHORT))
    sizes = lp_norms(steps, norm).where(within, torch.inf)
    return Outlook(
        steps.view(*goals.shape, *origins.shape[1:]), sizes.view(goals.shape)
    )
