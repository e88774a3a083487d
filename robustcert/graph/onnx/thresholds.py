"""Softplus as PyTorch writes it: the identity above a threshold.

``Where(beta x > 20, x, softplus(beta x) / beta)``; beyond the threshold both differ by
less than 3e-9, and the graph's softplus has the same threshold.
"""

from __future__ import annotations

from robustcert.graph.activations import ActivationKind
from robustcert.graph.build import Symbol
from robustcert.graph.layers import Elementwise
from robustcert.graph.onnx.call import Call
from robustcert.graph.onnx.products import SLACK, scaled
from robustcert.graph.onnx.values import Above

_THRESHOLD = 20.0


def greater(call: Call) -> Above:
    """``x > threshold``, of use for a softplus alone."""
    source = call.symbol()
    limit = call.constant(1)
    if limit.numel() != 1:
        call.refuse("compares with more than one number")
    return Above(source.position, limit.item())


def where(call: Call) -> Symbol:
    """A softplus with a threshold is a softplus."""
    mask, kept, smooth = (call.value(place) for place in range(3))
    if (
        not isinstance(mask, Above)
        or mask.threshold != _THRESHOLD
        or not isinstance(kept, Symbol)
        or not isinstance(smooth, Symbol)
        or not _is_softplus(call, mask, kept, smooth)
    ):
        call.refuse("chooses by the data, other than in a softplus")
    return smooth


def _is_softplus(call: Call, mask: Above, kept: Symbol, smooth: Symbol) -> bool:
    """Whether ``smooth`` is ``softplus(beta x) / beta`` of ``kept`` x."""
    position, after = scaled(call, smooth.position) or (smooth.position, 1.0)
    layer = call.builder.layers[position]
    before = _multiple(call, mask.position, kept.position)
    return (
        isinstance(layer, Elementwise)
        and layer.activation.kind is ActivationKind.SOFTPLUS
        and layer.inputs == (mask.position,)
        and before is not None
        and abs(before * after - 1.0) <= SLACK
    )


def _multiple(call: Call, position: int, source: int) -> float | None:
    """The number by which the layer at ``position`` multiplies ``source``."""
    if position == source:
        return 1.0
    found = scaled(call, position)
    return found[1] if found is not None and found[0] == source else None
