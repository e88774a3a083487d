"""Operators that act on each element, and the final softmax."""

from __future__ import annotations

import torch

from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.build import Final, Symbol
from robustcert.graph.layers import Elementwise
from robustcert.graph.torchscript.call import Call
from robustcert.graph.torchscript.walk import Rule
from robustcert.results.report import OutputKind

_SELU = (1.6732632423543772848170429916717, 1.0507009873554804934193349852946, 1.0)
_SOFTPLUS_THRESHOLD = 20


def plain(kind: ActivationKind) -> Rule:
    """The rule of an activation without parameters."""

    def rule(call: Call) -> Symbol:
        return _elementwise(call, Activation(kind))

    return rule


def leaky_relu(call: Call) -> Symbol:
    """``leaky_relu(x, slope)``."""
    return _elementwise(
        call, Activation(ActivationKind.LEAKY_RELU, (float(call.arguments[1]),))
    )


def prelu(call: Call) -> Symbol:
    """``prelu(x, slope)`` with one slope for all channels."""
    slope = call.constant(1)
    if slope.numel() != 1:
        call.refuse("has a slope for each channel")
    return leaky_relu(call.given(call.arguments[0], slope.item()))


def elu(call: Call) -> Symbol:
    """``elu(x, alpha, scale, input_scale)``."""
    alpha, scale, input_scale = (float(value) for value in call.arguments[1:4])
    return _elu(call, (alpha, scale, input_scale))


def selu(call: Call) -> Symbol:
    """SELU: an ELU with its own constants (Klambauer et al. 2017)."""
    return _elu(call, _SELU)


def celu(call: Call) -> Symbol:
    """``celu(x, alpha)``: an ELU whose input is scaled by 1 / alpha."""
    alpha = float(call.arguments[1])
    return _elu(call, (alpha, 1.0, 1.0 / alpha))


def softplus(call: Call) -> Symbol:
    """``softplus(x, beta, threshold)``."""
    if call.arguments[2] != _SOFTPLUS_THRESHOLD:
        call.refuse(f"has threshold {call.arguments[2]}, not {_SOFTPLUS_THRESHOLD}")
    beta = float(call.arguments[1])
    return _elementwise(call, Activation(ActivationKind.SOFTPLUS, (beta,)))


def gelu(call: Call) -> Symbol:
    """GELU, exact or by tanh."""
    tanh = call.arguments[1:2] == ("tanh",)
    kind = ActivationKind.GELU_TANH if tanh else ActivationKind.GELU
    return _elementwise(call, Activation(kind))


def clamp(call: Call) -> Symbol:
    """``clamp(x, low, high)``, either end of which may be missing."""
    low, high = (call.optional(position) for position in (1, 2))
    ends = (
        -torch.inf if low is None else low.item(),
        torch.inf if high is None else high.item(),
    )
    return _elementwise(call, Activation(ActivationKind.CLAMP, ends))


def clamp_min(call: Call) -> Symbol:
    """``clamp_min(x, low)``."""
    return clamp(call.given(*call.arguments[:2], None))


def clamp_max(call: Call) -> Symbol:
    """``clamp_max(x, high)``."""
    return clamp(call.given(call.arguments[0], None, call.arguments[1]))


def relu6(call: Call) -> Symbol:
    """``min(max(x, 0), 6)``."""
    return clamp(call.given(call.arguments[0], 0.0, 6.0))


def softmax(output: OutputKind) -> Rule:
    """The rule of a (log-)softmax over the classes."""

    def rule(call: Call) -> Final:
        source = call.symbol()
        if len(source.shape) != 1 or call.arguments[1] not in (1, -1):
            call.refuse("is not over the classes")
        return Final(source, output)

    return rule


def _elementwise(call: Call, activation: Activation) -> Symbol:
    return call.add(Elementwise, call.symbol(), activation=activation)


def _elu(call: Call, parameters: tuple[float, float, float]) -> Symbol:
    if min(parameters) < 0.0:
        call.refuse("is not monotone (alpha < 0)")
    return _elementwise(call, Activation(ActivationKind.ELU, parameters))
