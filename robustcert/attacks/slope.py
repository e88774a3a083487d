"""One forward and one backward pass: a loss, its gradient at the inputs, the logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

View = Callable[[Tensor], Tensor]
"""Inputs ``(N, *shape)`` to logits ``(N, K)``: the model, or a stand-in."""


@dataclass(frozen=True, slots=True, eq=False)
class Slope:
    """What one pass tells about N points.

    Attributes:
        logits: ``(N, K)``, detached.
        losses: ``(N,)``.
        gradients: ``(N, *shape)`` in the points' dtype; 0 where they are not finite or
            the output does not depend on the input.
    """

    logits: Tensor
    losses: Tensor
    gradients: Tensor


def slope(view: View, points: Tensor, loss: Callable[[Tensor], Tensor]) -> Slope:
    """Differentiate ``loss(view(points))`` row by row.

    Args:
        view: each row depends on its own input alone.
        points: ``(N, *shape)``.
        loss: ``(N,)`` from logits ``(N, K)``, which come in float32 at least.
    """
    with torch.enable_grad():
        leaf = points.detach().clone().requires_grad_()
        logits = view(leaf)
        wide = logits if logits.dtype == torch.float64 else logits.float()
        losses = loss(wide)
        if losses.requires_grad:
            (gradients,) = torch.autograd.grad(
                losses.sum(), leaf, materialize_grads=True
            )
        else:
            gradients = torch.zeros_like(leaf)
    finite = gradients.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    return Slope(logits.detach(), losses.detach(), finite)
