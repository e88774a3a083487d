"""Products: with constants, and those that spell out an activation.

Files from before opset 14 write SiLU as ``x * sigmoid(x)`` and hard swish as
``x * hardsigmoid(x)``; files from before opset 20 write GELU with an error function.
Every other product of two tensors that depend on the input is refused.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NoReturn

import torch
from torch import Tensor

from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.build import Symbol
from robustcert.graph.layers import Affine, Elementwise
from robustcert.graph.onnx.call import Call
from robustcert.graph.onnx.values import ErrorTerm, Value

SLACK = 1e-6
"""Relative difference that a constant rounded to float32 may have."""
GATED = {
    ActivationKind.SIGMOID: ActivationKind.SILU,
    ActivationKind.HARDSIGMOID: ActivationKind.HARDSWISH,
}
"""Activations of ``x * gate(x)``, by the gate."""


def product(call: Call, position: int, scale: Tensor | None) -> Symbol | ErrorTerm:
    """The argument times ``scale``, or times the other one where there is none."""
    value = call.value(position)
    if scale is None:
        return _of_two(call)
    if isinstance(value, ErrorTerm):
        factor = float(scale)
        term = replace(value, factor=value.factor * factor, shift=value.shift * factor)
        return _settled(call, term)
    shift = torch.zeros((), dtype=torch.float64)
    return call.add(Affine, call.symbol(position), scale=scale, shift=shift)


def error_function(call: Call) -> ErrorTerm:
    """``erf(x / sqrt 2)``; of other arguments no activation is known."""
    source = call.symbol()
    found = scaled(call, source.position)
    if found is None or not _close(found[1], math.sqrt(0.5)):
        call.refuse("is an error function that is no part of a GELU")
    return ErrorTerm(_at(call, source, found[0]))


def shifted_error(call: Call, term: ErrorTerm, shift: Tensor) -> ErrorTerm:
    """The term plus a number."""
    if term.times or shift.numel() != 1:
        call.refuse("adds to an error function that is no part of a GELU")
    return replace(term, shift=term.shift + shift.item())


def _of_two(call: Call) -> Symbol | ErrorTerm:
    for first, second in ((0, 1), (1, 0)):
        gate, other = call.value(first), call.value(second)
        if isinstance(gate, ErrorTerm) and isinstance(other, Symbol):
            return _times_source(call, gate, other)
        kind = _gated(call, gate, other)
        if kind is not None:
            activation = Activation(kind)
            return call.add(Elementwise, call.symbol(second), activation=activation)
    return _refuse(call)


def _refuse(call: Call) -> NoReturn:
    call.refuse(
        "multiplies two tensors that depend on the input",
        remedy="Export with opset 20 or newer, where activations are one operator.",
    )


def _gated(call: Call, gate: Value, other: Value) -> ActivationKind | None:
    if not isinstance(gate, Symbol) or not isinstance(other, Symbol):
        return None
    layer = call.builder.layers[gate.position]
    if not isinstance(layer, Elementwise) or layer.inputs != (other.position,):
        return None
    return GATED.get(layer.activation.kind)


def _times_source(call: Call, term: ErrorTerm, other: Symbol) -> Symbol | ErrorTerm:
    """The term times x, or times a multiple of x."""
    factor = 1.0
    if other.position != term.source.position:
        found = scaled(call, other.position)
        if found is None or found[0] != term.source.position:
            _refuse(call)
        factor = found[1]
    if term.times:
        _refuse(call)
    whole = replace(
        term, factor=term.factor * factor, shift=term.shift * factor, times=True
    )
    return _settled(call, whole)


def _settled(call: Call, term: ErrorTerm) -> Symbol | ErrorTerm:
    """GELU, once the term has become ``x / 2 * (erf(x / sqrt 2) + 1)``."""
    if term.times and _close(term.factor, 0.5) and _close(term.shift, 0.5):
        activation = Activation(ActivationKind.GELU)
        return call.add(Elementwise, term.source, activation=activation)
    return term


def scaled(call: Call, position: int) -> tuple[int, float] | None:
    """Where a layer is a number times another's output: that layer, the number."""
    layer = call.builder.layers[position]
    if (
        not isinstance(layer, Affine)
        or layer.scale.numel() != 1
        or bool((layer.shift != 0.0).any())
    ):
        return None
    return layer.inputs[0], layer.scale.item()


def _at(call: Call, multiple: Symbol, position: int) -> Symbol:
    """The symbol at ``position``, of which ``multiple`` is a multiple."""
    layer = call.builder.layers[multiple.position]
    if not isinstance(layer, Affine):
        call.refuse("is an error function that is no part of a GELU")
    return Symbol(position, multiple.example / layer.scale, position)


def _close(found: float, wanted: float) -> bool:
    return abs(found - wanted) <= SLACK * abs(wanted)
