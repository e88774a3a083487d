"""Gradients that pass straight through what is piecewise constant.

Which steps of a model round is read off the graph that autograd records, so this works
for any model, scripted ones as well. A softmax, sigmoid or hyperbolic tangent that ends
the model is passed over likewise, because it is constant in floating point wherever the
model is sure.

Reference:
    Athalye, Carlini, Wagner. Obfuscated Gradients Give a False Sense of Security. ICML
        2018. (BPDA, section 4.1.)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.graph import Node

from robustcert.attacks.slope import View

_STEPWISE = frozenset(
    {
        f"{kind}Backward{n}"
        for kind in ("Round", "Floor", "Ceil", "Trunc")
        for n in (0, 1)
    }
    | {"SignBackward0", "SgnBackward0"}
)
"""Constant between jumps: the derivative that stands in is that of the identity."""

_SAWTOOTH = frozenset({"Remainder", "Fmod", "Frac"})
"""What a rounding leaves; taken from its argument, it is the rounding."""

_SQUASHING = frozenset({"Softmax", "Sigmoid", "Tanh"})
"""Flat far from 0; straight through only where they end the model."""

_PASSING = frozenset({"Log", "LogSoftmax", "ClampMin", "Clamp", "ToCopy"})
"""What may come after them."""

Gradients = tuple[Tensor | None, ...]

RowLoss = Callable[[Tensor, Tensor], Tensor]
"""``(M,)`` losses from logits ``(M, K)`` of the samples at positions ``(M,)``."""


def straight_gradients(
    view: View, points: Tensor, loss: RowLoss, rows: Tensor
) -> Tensor:
    """``(M, *shape)`` gradients of the loss, with stand-ins for what is piecewise flat.

    Args:
        view: each row depends on its own input alone.
        points: ``(M, *shape)``.
        loss: of the logits of ``rows``, in float32 at least.
        rows: ``(M,)`` positions of the samples.

    Returns:
        In the points' dtype; 0 where it is not finite or no path leads to the input.
    """
    with torch.enable_grad():
        leaf = points.detach().clone().requires_grad_()
        logits = view(leaf)
        if logits.grad_fn is None:
            return torch.zeros_like(leaf)
        _straighten(logits.grad_fn)
        wide = logits if logits.dtype == torch.float64 else logits.float()
        (found,) = torch.autograd.grad(
            loss(wide, rows).sum(), leaf, materialize_grads=True
        )
    return found.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def _straighten(root: Node) -> None:
    """Let gradients pass unchanged through what is piecewise constant above ``root``.

    The hooks live and die with the recorded graph of one forward pass.
    """
    for node in _final_squashing(root):
        node.register_hook(_unchanged)
    seen, left = {root}, [root]
    while left:
        node = left.pop()
        if node.name() in _STEPWISE or _divides_and_rounds(node):
            node.register_hook(_unchanged)
        elif _kind(node) in _SAWTOOTH:
            node.register_hook(_nothing)
        above = {parent for parent, _ in node.next_functions if parent is not None}
        left.extend(above - seen)
        seen |= above


def _final_squashing(root: Node) -> list[Node]:
    """The chain of element-wise steps that ends the model, if it squashes."""
    chain, node = [], root
    while _kind(node) in _PASSING | _SQUASHING:
        chain.append(node)
        following = node.next_functions[0][0]
        if following is None:
            break
        node = following
    return chain if any(_kind(node) in _SQUASHING for node in chain) else []


def _divides_and_rounds(node: Node) -> bool:
    """Division by a positive number; one by a negative number would turn the slope."""
    return getattr(node, "_saved_rounding_mode", None) is not None


def _kind(node: Node) -> str:
    """``Round`` of ``RoundBackward0``."""
    return node.name().partition("Backward")[0]


def _unchanged(own: Gradients, given: Gradients) -> Gradients:
    """Hand on what came in, unless the step reshaped it."""
    if own[0] is None or given[0] is None or own[0].shape != given[0].shape:
        return own
    return (given[0], *own[1:])


def _nothing(own: Gradients, given: Gradients) -> Gradients:  # noqa: ARG001 - a hook's
    return tuple(None if one is None else torch.zeros_like(one) for one in own)
