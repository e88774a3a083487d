"""Operators that act on each element, and the final softmax."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.build import Final, Symbol
from robustcert.graph.layers import Affine, Elementwise
from robustcert.graph.onnx.call import Call
from robustcert.results.report import OutputKind

_SELU = (1.6732632423543772, 1.0507009873554805)
_HARD = (1.0 / 6.0, 0.5)
_SLACK = 1e-6
_CLIP_BY_INPUTS = 11
_SOFTMAX_BY_AXIS = 13


def plain(kind: ActivationKind) -> Callable[[Call], Symbol]:
    """The rule of an activation without parameters."""

    def rule(call: Call) -> Symbol:
        return _elementwise(call, Activation(kind))

    return rule


def leaky_relu(call: Call) -> Symbol:
    """``x`` where it is positive, else ``alpha * x``."""
    return _leaky(call, call.number("alpha", 0.01))


def prelu(call: Call) -> Symbol:
    """Leaky ReLU with one trained slope for all channels."""
    slope = call.constant(1)
    if slope.numel() != 1:
        call.refuse("has a slope for each channel")
    return _leaky(call, slope.item())


def elu(call: Call) -> Symbol:
    """``x`` where it is positive, else ``alpha * (exp(x) - 1)``."""
    return _elu(call, (call.number("alpha", 1.0), 1.0, 1.0))


def selu(call: Call) -> Symbol:
    """ELU times ``gamma`` (Klambauer et al. 2017)."""
    alpha, gamma = call.number("alpha", _SELU[0]), call.number("gamma", _SELU[1])
    return _elu(call, (alpha, gamma, 1.0))


def celu(call: Call) -> Symbol:
    """ELU whose input is divided by ``alpha``."""
    alpha = call.number("alpha", 1.0)
    if alpha <= 0.0:
        call.refuse("is not monotone (alpha <= 0)")
    return _elu(call, (alpha, 1.0, 1.0 / alpha))


def softplus(call: Call) -> Symbol:
    """``log(exp(x) + 1)``."""
    return _elementwise(call, Activation(ActivationKind.SOFTPLUS, (1.0,)))


def swish(call: Call) -> Symbol:
    """``x * sigmoid(alpha * x)``, alpha being 1: SiLU."""
    if call.number("alpha", 1.0) != 1.0:
        call.refuse("is a Swish with alpha other than 1")
    return _elementwise(call, Activation(ActivationKind.SILU))


def gelu(call: Call) -> Symbol:
    """GELU, exact or by tanh."""
    way = call.text("approximate", "none")
    kinds = {"none": ActivationKind.GELU, "tanh": ActivationKind.GELU_TANH}
    if way not in kinds:
        call.refuse(f"is a GELU approximated by {way!r}")
    return _elementwise(call, Activation(kinds[way]))


def hard_sigmoid(call: Call) -> Symbol:
    """``max(0, min(1, alpha * x + beta))``."""
    alpha, beta = call.number("alpha", 0.2), call.number("beta", 0.5)
    if abs(alpha - _HARD[0]) < _SLACK and beta == _HARD[1]:
        return _elementwise(call, Activation(ActivationKind.HARDSIGMOID))
    scale, shift = (torch.tensor(number).double() for number in (alpha, beta))
    moved = call.add(Affine, call.symbol(), scale=scale, shift=shift)
    clamp = Activation(ActivationKind.CLAMP, (0.0, 1.0))
    return call.add(Elementwise, moved, activation=clamp)


def clip(call: Call) -> Symbol:
    """``min(max(x, low), high)``, either end of which may be missing."""
    if call.opset < _CLIP_BY_INPUTS:
        low = call.number("min", -math.inf)
        high = call.number("max", math.inf)
        return _clamp(call, low, high)
    low = -math.inf if call.value(1) is None else _single(call, 1)
    high = math.inf if call.value(2) is None else _single(call, 2)
    return _clamp(call, low, high)


def softmax(output: OutputKind) -> Callable[[Call], Final]:
    """The rule of a (log-)softmax over the classes."""

    def rule(call: Call) -> Final:
        source = call.symbol()
        axis = call.integer("axis", -1 if call.opset >= _SOFTMAX_BY_AXIS else 1)
        if len(source.shape) != 1 or axis not in (1, -1):
            call.refuse("is not over the classes")
        return Final(source, output)

    return rule


def _elementwise(call: Call, activation: Activation) -> Symbol:
    return call.add(Elementwise, call.symbol(), activation=activation)


def _leaky(call: Call, slope: float) -> Symbol:
    if not math.isfinite(slope):
        call.refuse("has a slope that is not finite")
    return _elementwise(call, Activation(ActivationKind.LEAKY_RELU, (slope,)))


def _elu(call: Call, parameters: tuple[float, float, float]) -> Symbol:
    if not all(math.isfinite(number) and number >= 0.0 for number in parameters):
        call.refuse("is not monotone (alpha < 0)")
    return _elementwise(call, Activation(ActivationKind.ELU, parameters))


def _clamp(call: Call, low: float, high: float) -> Symbol:
    if not low <= high:
        call.refuse(f"clips to [{low:g}, {high:g}], which is empty")
    return _elementwise(call, Activation(ActivationKind.CLAMP, (low, high)))


def _single(call: Call, position: int) -> float:
    number = call.constant(position)
    if number.numel() != 1:
        call.refuse("clips to ends that differ from place to place")
    return number.item()
