"""Does a plain gradient attack get anywhere, and everywhere with the whole box?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from robustcert.attacks.diagnostics.promise import promise_findings
from robustcert.attacks.differences import coordinate_reach
from robustcert.attacks.interface import Target
from robustcert.attacks.losses import negative_margin
from robustcert.attacks.slope import slope
from robustcert.attacks.verify import judged_margins
from robustcert.attacks.walk import Trail, trailhead, walk
from robustcert.results.report import Finding, Level
from robustcert.tensors import box_diameter

NEAR_STEPS = 10
FAR_STEPS = 20
"""Steps within epsilon, and with the whole box to go through."""

SLACK = 0.1
"""How far above chance a share of 32 samples may lie."""

_SPACINGS = 4.0
"""A coordinate that may move less than so many spacings of the dtype may be stuck."""

_REMEDY = (
    "Trust attacks that need no gradients, and certificates; find out what hides the "
    "gradients."
)


def climbing_findings(target: Target) -> Iterator[Finding]:
    """What ascent by the model's own gradients shows: five findings.

    Args:
        target: the samples that are probed; wrong ones are left out.
    """
    before = judged_margins(target.model, target.inputs, target.labels)
    rows = (before > 0.0).nonzero().flatten()
    if not len(rows) or not _resolved(target):
        return
    task = target.subset(rows)
    near = _climbed(task, NEAR_STEPS)
    yield from _near_findings(near, before[rows])
    yield from promise_findings(task, before[rows], near)
    size = task.inputs[0].numel()
    widest = box_diameter(task.threat.box, size, task.threat.norm)
    whole = replace(task, threat=replace(task.threat, epsilon=widest))
    far = _climbed(whole, FAR_STEPS)
    yield from _far_findings(target, near, far)


def _resolved(target: Target) -> bool:
    """Whether the model's dtype can tell points of the ball apart."""
    reach = coordinate_reach(target.threat, target.inputs[0].numel())
    box = target.threat.box
    spacing = torch.finfo(target.model.dtype).eps * max(abs(box.low), abs(box.high))
    return reach > _SPACINGS * spacing


def _climbed(task: Target, steps: int) -> Trail:
    """Ascent of the margin loss by the model's own gradients."""

    def uphill(points: Tensor, rows: Tensor) -> Tensor:
        labels = task.labels[rows]

        def loss(logits: Tensor) -> Tensor:
            return negative_margin(logits, labels)

        return slope(task.model.logits, points, loss).gradients

    trail = trailhead(task)
    walk(task, uphill, steps, trail)
    return trail


def _near_findings(near: Trail, before: Tensor) -> Iterator[Finding]:
    count = len(before)
    still = int((~near.moved).sum())
    stalled = int((near.moved & ~(near.margins < before)).sum())
    if 2 * still >= count:
        yield Finding(
            "iterates-still",
            Level.WARNING,
            f"{NEAR_STEPS} gradient steps leave {still} of {count} samples where they "
            "are: there is no direction to follow.",
            _REMEDY,
        )
    if 2 * stalled >= count:
        yield Finding(
            "loss-stalls",
            Level.WARNING,
            f"{NEAR_STEPS} gradient steps lower the margin of "
            f"{count - still - stalled} of {count} samples only: the gradient does not "
            "say where it falls.",
            _REMEDY,
        )


def _far_findings(target: Target, near: Trail, far: Trail) -> Iterator[Finding]:
    count, left = len(near.margins), len(far.standing)
    standing = ~(near.margins < 0.0)
    idle = int((standing & ~(far.margins < near.margins)).sum())
    if 2 * idle >= count:
        yield Finding(
            "epsilon-idle",
            Level.WARNING,
            f"With the whole box instead of epsilon, gradient steps get no further at "
            f"{idle} of {count} samples.",
            _REMEDY,
        )
    if left / len(target.inputs) > 1.0 / target.model.classes + SLACK:
        yield Finding(
            "huge-epsilon",
            Level.WARNING,
            f"With the whole box to go through, {FAR_STEPS} gradient steps fool the "
            f"model on {count - left} of {count} samples only; any input is allowed "
            "there.",
            _REMEDY,
        )
