"""Operators that move coordinates about, or leave them as they are."""

from __future__ import annotations

import torch

from robustcert.graph.build import Symbol
from robustcert.graph.layers import Concat, Permute
from robustcert.graph.torchscript.call import EVAL_REMEDY, Call
from robustcert.graph.torchscript.walk import Rule

_WIDE = (torch.float32, torch.float64, 6, 7)
"""Types that hold a float32 number; 6 and 7 are TorchScript's numbers for them."""


def reshape_by(method: str) -> Rule:
    """The rule of an operator that is the tensor method ``method``.

    A ``view`` is a ``reshape`` here: where the model's strides allow the one, both give
    the same, and the example's strides may be others.
    """

    def rule(call: Call) -> Symbol:
        source = call.symbol()
        try:
            example = getattr(source.example, method)(*call.arguments[1:])
        except (RuntimeError, TypeError) as error:
            call.refuse(f"cannot be read: {error}")
        return call.builder.reshape(call.name, source, example)

    return rule


def permute(call: Call) -> Symbol:
    """``permute(x, dims)`` that leaves the batch first."""
    source = call.symbol()
    order = [dim % source.example.ndim for dim in call.arguments[1]]
    if order[0] != 0:
        call.refuse("moves the batch dimension")
    symbol = call.add(Permute, source, order=tuple(dim - 1 for dim in order[1:]))
    return Symbol(symbol.position, symbol.example, source.storage)


def transpose(call: Call) -> Symbol:
    """``transpose(x, a, b)``."""
    order = list(range(call.symbol().example.ndim))
    first, second = call.arguments[1:3]
    order[first], order[second] = order[second], order[first]
    return permute(call.given(call.arguments[0], order))


def concat(call: Call) -> Symbol:
    """``cat(tensors, dim)``."""
    items, dim = call.arguments[:2]
    each = call.given(*items)
    sources = [each.symbol(position) for position in range(len(items))]
    inner = dim % sources[0].example.ndim - 1
    if inner < 0:
        call.refuse("concatenates along the batch")
    return call.add(Concat, *sources, dim=inner)


def stack(call: Call) -> Symbol:
    """``stack(tensors, dim)``: ``cat`` of tensors that have one dimension more."""
    items, dim = call.arguments[:2]
    unsqueeze = reshape_by("unsqueeze")
    return concat(call.given([unsqueeze(call.given(item, dim)) for item in items], dim))


def same(call: Call) -> Symbol:
    """An operator that gives its input back."""
    return call.symbol()


def copy(call: Call) -> Symbol:
    """``clone(x)``: the same value, but no view of it."""
    source = call.symbol()
    return Symbol(source.position, source.example, call.builder.new_storage())


def dropout(call: Call) -> Symbol:
    """Dropout in eval mode does nothing."""
    if call.arguments[2]:
        call.refuse(
            "is a dropout in train mode: the model is random", remedy=EVAL_REMEDY
        )
    return call.symbol()


def convert(call: Call) -> Symbol:
    """A conversion; to a narrower type than float32 it would change the function."""
    for name, value in call.schema_arguments():
        target = getattr(value, "dtype", None) if name == "other" else value
        narrow = target is not None and target not in _WIDE
        if name in ("dtype", "other") and narrow:
            call.refuse(f"converts its input to {target}")
    return call.symbol()
