"""Operators that take coordinates of their input to other places: slices, padding.

They run on numbered coordinates only; see :mod:`robustcert.graph.placement`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from robustcert.graph.build import Symbol
from robustcert.graph.layers import Affine
from robustcert.graph.placement import numbered
from robustcert.graph.torchscript.call import Call
from robustcert.graph.torchscript.values import Value, depends_on_input
from robustcert.graph.torchscript.walk import Rule

UNREADABLE = (RuntimeError, ValueError, IndexError, TypeError)


def view(operator: str) -> Rule:
    """The rule of an operator whose result is a view of its input."""

    def rule(call: Call) -> Symbol:
        return _view(call, operator)

    return rule


def views(operator: str) -> Rule:
    """The rule of an operator that gives several views of its input."""

    def rule(call: Call) -> list[Value]:
        source = call.symbol()
        return [_placed(call, source, part) for part in _moved(call, operator)]

    return rule


def copied(operator: str) -> Rule:
    """The rule of an operator that copies coordinates."""

    def rule(call: Call) -> Symbol:
        return _copy(call, _moved(call, operator))

    return rule


def slices(call: Call) -> Symbol | list[Value]:
    """``slice(x, dim, start, end, step)``, or ``slice(list, start, end, step)``."""
    whole = call.arguments[0]
    if isinstance(whole, list):
        return list(whole[slice(*call.arguments[1:4])])
    return _view(call, "slice")


def expand(call: Call) -> Symbol:
    """``expand(x, sizes)``."""
    return _view(call.given(*call.arguments[:2]), "expand")


def pad(call: Call) -> Symbol:
    """``pad(x, sides, mode, value)``: by a constant, or by the input's own edge."""
    sides, mode, value = call.arguments[1:4]
    if mode != "constant":
        return _copy(call, _moved(call.given(*call.arguments[:3]), "pad"))
    return constant_pad(call.given(call.arguments[0], sides, value))


def constant_pad(call: Call) -> Symbol:
    """``constant_pad_nd(x, sides, value)``."""
    sides, value = call.arguments[1:3]
    shift = 0.0 if value is None else float(call.as_constant(value))
    moved = _moved(call.given(call.arguments[0], sides), "constant_pad_nd")
    found = _copy(call, moved)
    if shift == 0.0:
        return found
    if not math.isfinite(shift):
        call.refuse(f"pads with {shift}")
    return call.add(
        Affine,
        found,
        scale=torch.ones((), dtype=torch.float64),
        shift=(moved[0] == 0.0).to(torch.float64) * shift,
    )


def _moved(call: Call, operator: str) -> Value:
    """What the operator does to the numbered coordinates of its first argument."""
    if depends_on_input(list(call.arguments[1:])):
        call.refuse(f"{call.operator} has indices that depend on the input")
    others = _on_cpu(call.arguments[1:])
    numbers = numbered(call.symbol().shape)
    try:
        return getattr(torch.ops.aten, operator)(numbers, *others)
    except UNREADABLE as error:
        call.refuse(f"cannot be read: {error}")


def _on_cpu(values: Sequence[Value]) -> list[Value]:
    """The values, indices among them where the numbers are."""
    return [
        _on_cpu(value)
        if isinstance(value, list)
        else value.cpu()
        if isinstance(value, Tensor)
        else value
        for value in values
    ]


def _view(call: Call, operator: str) -> Symbol:
    return _placed(call, call.symbol(), _moved(call, operator))


def _placed(call: Call, source: Symbol, moved: Tensor) -> Symbol:
    return call.builder.gather(call.name, source, moved)


def _copy(call: Call, moved: Tensor) -> Symbol:
    found = _placed(call, call.symbol(), moved)
    return replace(found, storage=call.builder.new_storage())
