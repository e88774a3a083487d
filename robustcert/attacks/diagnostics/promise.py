"""Do steps gain what the gradient promises?"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from robustcert.attacks.interface import Target
from robustcert.attacks.losses import negative_margin
from robustcert.attacks.slope import slope
from robustcert.attacks.walk import Trail
from robustcert.results.norm import Norm
from robustcert.results.report import Finding, Level
from robustcert.results.threat_model import ThreatModel
from robustcert.tensors import lp_norms

PROMISE = 1.0
"""A promise of more than the whole gain so far. On ordinary nets, after ten steps, the
median promise is below a quarter of the gain; on shattered gradients it is many times
the gain."""

MANY = 8
"""One sample in so many is enough for an alarm, if most that stand agree."""


def promise_findings(task: Target, before: Tensor, trail: Trail) -> Iterator[Finding]:
    """``shattered-gradients``: the gradient promises what steps do not deliver.

    Then more steps do not find smaller perturbations, however many they are.

    Args:
        task: the N samples.
        before: ``(N,)`` margins at the samples.
        trail: where gradient steps have led.
    """
    standing = ~(trail.margins < 0.0)
    gain = before - trail.margins
    broken = standing & (promised_gains(task, trail.points) > PROMISE * gain)
    count, left = int(broken.sum()), int(standing.sum())
    if count and 2 * count >= left and count * MANY >= len(before):
        yield Finding(
            "shattered-gradients",
            Level.WARNING,
            f"At {count} of {len(before)} samples the gradient promises, after all the "
            "steps along it, more than they have gained: it changes faster than steps "
            "can follow.",
            "Trust attacks that need no gradients, or average them over noise, and "
            "certificates.",
        )


def promised_gains(task: Target, points: Tensor) -> Tensor:
    """``(N,)`` how far the margin would fall within ball and box if it were linear.

    The Frank-Wolfe gap; for l2 the box counts only where a point lies on its face.
    """
    centres, threat = task.inputs.to(points.dtype), task.threat

    def loss(logits: Tensor) -> Tensor:
        return negative_margin(logits, task.labels)

    g = slope(task.model.logits, points, loss).gradients
    if threat.norm is Norm.LINF:
        return _corner_gains(g, points, centres, threat)
    blocked = ((points <= threat.box.low) & (g < 0.0)) | (
        (points >= threat.box.high) & (g > 0.0)
    )
    free = g.masked_fill(blocked, 0.0)
    along = (free * (points - centres)).flatten(1).sum(dim=1)
    return (threat.epsilon * lp_norms(free, Norm.L2) - along).clamp(min=0.0).double()


def _corner_gains(
    g: Tensor, points: Tensor, centres: Tensor, threat: ThreatModel
) -> Tensor:
    up = (centres + threat.epsilon).clamp(max=threat.box.high) - points
    down = points - (centres - threat.epsilon).clamp(min=threat.box.low)
    gains = torch.where(g > 0.0, g * up, -g * down)
    return gains.flatten(1).sum(dim=1).clamp(min=0.0).double()
