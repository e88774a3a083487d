"""Do gradients exist, and do they say what the margin does at the scale of epsilon?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from robustcert.attacks.diagnostics.answers import ROUNDING
from robustcert.attacks.differences import coordinate_reach
from robustcert.attacks.interface import Target
from robustcert.attacks.verify import judged_margins
from robustcert.models.interface import LoadedModel
from robustcert.results.report import Finding, Level
from robustcert.tensors import clip_to_box, margins

DIRECTIONS = 8
"""Random directions along which slopes and differences are compared."""

VANISHING = 1e-2
"""A slope below this share of the difference over epsilon says nothing about it."""

MANY = 8
"""One sample in so many is enough for an alarm; one alone may lie at a kink."""

_NO_DERIVATIVE = "is not implemented"

_REMEDY = (
    "Trust gradient-free attacks and certificates; evaluate the model without its "
    "quantisation or saturation as well."
)


def differentiable(model: LoadedModel, inputs: Tensor, labels: Tensor) -> LoadedModel:
    """The model; cut off from its inputs where a step of it has no derivative at all.

    Floor division is such a step: PyTorch records it, and raises when differentiated.
    Cut off, the model counts as flat, which every attack can live with.

    Args:
        model: the model.
        inputs: ``(N, *shape)``, N >= 1; the first one is tried.
        labels: ``(N,)`` int64.
    """
    try:
        margin_gradients(model, inputs[:1], labels[:1])
    except RuntimeError as error:
        if _NO_DERIVATIVE not in str(error):
            raise
        return replace(model, function=lambda batch: model.function(batch).detach())
    return model


def margin_gradients(model: LoadedModel, inputs: Tensor, labels: Tensor) -> Tensor:
    """``(N, *shape)`` gradients of the margins; 0 where the output has no graph."""
    with torch.enable_grad():
        leaf = inputs.to(model.dtype).detach().clone().requires_grad_()
        total = margins(model.logits(leaf), labels).sum()
        if not total.requires_grad:
            return torch.zeros_like(leaf)
        (gradients,) = torch.autograd.grad(total, leaf, materialize_grads=True)
    return gradients


def gradient_findings(
    model: LoadedModel, inputs: Tensor, labels: Tensor
) -> Iterator[Finding]:
    """``zero-gradients`` and ``non-finite-gradients`` of the margin at the samples."""
    gradients = margin_gradients(model, inputs, labels).flatten(1)
    odd = int((~gradients.isfinite()).any(dim=1).sum())
    dead = int((gradients == 0.0).all(dim=1).sum())
    if dead:
        yield Finding(
            "zero-gradients",
            Level.WARNING,
            f"The margin's gradient is zero at {dead} of the first {len(gradients)} "
            "samples; gradient attacks are blind there.",
            _REMEDY,
        )
    if odd:
        yield Finding(
            "non-finite-gradients",
            Level.WARNING,
            f"The margin's gradient is NaN or infinite at {odd} of the first "
            f"{len(gradients)} samples; gradient attacks are blind there.",
            "Look for square roots and norms at 0, and for logarithms of 0.",
        )


def vanishing_findings(target: Target) -> Iterator[Finding]:
    """``vanishing-gradients``: there is a slope, but far below the true differences."""
    count = int(_vanishing(target).sum())
    if count * MANY >= len(target.inputs):
        yield Finding(
            "vanishing-gradients",
            Level.WARNING,
            f"At {count} of the first {len(target.inputs)} samples the margin changes "
            f"over a hundred times more at the scale of epsilon than its gradient "
            "says.",
            _REMEDY,
        )


def _vanishing(target: Target) -> Tensor:
    """``(N,)`` bool: a finite gradient, not 0, that explains next to nothing.

    Root mean squares over random signs are compared, so no single direction decides.
    Differences that could be rounding are left out.
    """
    model, inputs, labels = target.model, target.inputs, target.labels
    gradients = margin_gradients(model, inputs, labels).double().flatten(1)
    reach = coordinate_reach(target.threat, inputs[0].numel())
    generator = torch.Generator(inputs.device).manual_seed(target.seed)
    said = torch.zeros(len(inputs), dtype=torch.float64, device=inputs.device)
    done = torch.zeros_like(said)
    for _ in range(DIRECTIONS):
        signs = torch.randint(
            2, inputs.shape, generator=generator, device=inputs.device
        )
        step = reach * (2.0 * signs.to(inputs.dtype) - 1.0)
        ahead, behind = (
            clip_to_box(inputs + way * step, target.threat.box) for way in (1.0, -1.0)
        )
        change = judged_margins(model, ahead, labels) - judged_margins(
            model, behind, labels
        )
        said += ((ahead - behind).double().flatten(1) * gradients).sum(dim=1).square()
        done += change.nan_to_num(nan=0.0).square()
    scale = judged_margins(model, inputs, labels).abs().nan_to_num(nan=0.0).amax()
    beyond_rounding = (done / DIRECTIONS).sqrt() > ROUNDING * scale
    return (said > 0.0) & beyond_rounding & (said < VANISHING**2 * done)
