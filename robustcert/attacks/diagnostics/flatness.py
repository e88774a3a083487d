"""Is the model flat around a sample, though not at the scale of epsilon?"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from robustcert.attacks.differences import coordinate_reach
from robustcert.attacks.interface import Target
from robustcert.models.interface import LoadedModel
from robustcert.results.report import Finding, Level
from robustcert.results.threat_model import Box
from robustcert.tensors import clip_to_box

SMALL_STEP = 1e-6
"""A share of the box's width, far below what any quantisation resolves."""

_SPACINGS = 4.0
"""A step of so many spacings of the dtype changes the input for certain; a slope that
would change the logits by so many is seen."""


def flatness_findings(target: Target) -> Iterator[Finding]:
    """``quantised-input``: small steps change no bit of the logits, epsilon does."""
    count = int(_quantised(target).sum())
    if count:
        yield Finding(
            "quantised-input",
            Level.WARNING,
            f"At {count} of the first {len(target.inputs)} samples a small step "
            "changes no bit of the output, while one of epsilon does: the model rounds "
            "what it reads, and gradient attacks are blind.",
            "Evaluate the model without its quantisation as well.",
        )


def _quantised(target: Target) -> Tensor:
    """``(N,)`` bool. All coordinates step up, or all down: one way must change nothing.

    A truncating model jumps one way from inputs that lie on its grid.
    """
    model, box = target.model, target.threat.box
    inputs = target.inputs.to(model.dtype)
    finest = torch.finfo(model.dtype).eps
    step = max(
        SMALL_STEP * box.width, _SPACINGS * finest * max(abs(box.low), abs(box.high))
    )
    reach = coordinate_reach(target.threat, inputs[0].numel())
    here = _outputs(model, inputs)
    flat = torch.zeros(len(inputs), dtype=torch.bool, device=inputs.device)
    slope = torch.zeros(len(inputs), dtype=torch.float64, device=inputs.device)
    for way in (1.0, -1.0):
        near = _stepped(inputs, way * step, box)
        moved = (near != inputs).flatten(1).any(dim=1)
        flat |= moved & (_outputs(model, near) == here).all(dim=1)
        change = _outputs(model, _stepped(inputs, way * reach, box)) - here
        slope = torch.maximum(slope, change.abs().amax(dim=1) / reach)
    resolved = _SPACINGS * finest * here.abs().amax(dim=1)
    return flat & (slope * step > resolved)


def _stepped(inputs: Tensor, step: float, box: Box) -> Tensor:
    return clip_to_box(inputs + step, box)


def _outputs(model: LoadedModel, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return model.logits(inputs).double()
