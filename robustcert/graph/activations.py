"""Elementwise activation functions and what is known about their slopes."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from robustcert.graph.piecewise import pieces_of


class ActivationKind(enum.Enum):
    """The activations a graph may hold."""

    RELU = "relu"
    LEAKY_RELU = "leaky_relu"
    ELU = "elu"
    SIGMOID = "sigmoid"
    TANH = "tanh"
    SOFTPLUS = "softplus"
    SILU = "silu"
    GELU = "gelu"
    GELU_TANH = "gelu_tanh"
    CLAMP = "clamp"
    HARDSIGMOID = "hardsigmoid"
    HARDSWISH = "hardswish"
    SPLINE = "spline"


@dataclass(frozen=True, slots=True)
class Activation:
    """An activation with its parameters.

    ``parameters``: leaky ReLU (slope,), ELU (alpha, scale, input scale), softplus
    (beta,), clamp (low, high), spline (slope, knot, slope, ..., knot, slope, value at
    the first knot; see :func:`~robustcert.graph.piecewise.pieces_of`); empty otherwise.
    """

    kind: ActivationKind
    parameters: tuple[float, ...] = ()

    def __call__(self, values: Tensor) -> Tensor:
        """The activation of each element."""
        return _FUNCTIONS[self.kind](values, *self.parameters)

    @property
    def slopes(self) -> tuple[float, float]:
        """Smallest and largest slope anywhere, rounded outwards.

        GELU's and SiLU's extremes lie at the roots of their second derivatives (GELU at
            +-sqrt(2), SiLU at +-2.3994); the table's last digit is rounded away from 0.
            A spline's slopes may be sums that were rounded to nearest.
        """
        return _SLOPES[self.kind](*self.parameters)

    @property
    def turns(self) -> tuple[float, ...]:
        """Where it may turn from falling to rising or back.

        Over an interval it attains its extremes at an end or at one of these.
        """
        if self.kind is ActivationKind.LEAKY_RELU and self.parameters[0] < 0.0:
            return (0.0,)
        if self.kind is ActivationKind.SPLINE:
            return pieces_of(self.parameters).turns
        return _TURNS.get(self.kind, ())

    @property
    def piecewise_linear(self) -> bool:
        """Whether the activation consists of straight pieces."""
        return self.kind in _PIECEWISE

    def sizes(self, values: Tensor, outputs: Tensor) -> Tensor:
        """What rounding errors of the function are relative to, element by element.

        GELU and its kin cancel: their errors are relative to their argument, too.

        Args:
            values: arguments.
            outputs: the activation of these, of the same shape.
        """
        if self.kind is ActivationKind.SPLINE:
            pieces = pieces_of(self.parameters)
            return pieces.steepest * values.abs() + outputs.abs() + pieces.size
        return values.abs() + outputs.abs()


def _elu(values: Tensor, alpha: float, scale: float, input_scale: float) -> Tensor:
    negative = alpha * (values.clamp(max=0.0) * input_scale).expm1()
    return scale * (values.clamp(min=0.0) + negative)


def _softplus(values: Tensor, beta: float) -> Tensor:
    return F.softplus(values, beta=beta)


def _spline(values: Tensor, *parameters: float) -> Tensor:
    return pieces_of(parameters)(values)


def _spline_slopes(*parameters: float) -> tuple[float, float]:
    """A unit in the last place further out; a slope of 0 is exact."""
    slopes = parameters[:-1:2]
    low, high = min(slopes), max(slopes)
    unit = torch.finfo(torch.float64).eps
    return low - unit * abs(low), high + unit * abs(high)


_FUNCTIONS: dict[ActivationKind, Callable[..., Tensor]] = {
    ActivationKind.RELU: F.relu,
    ActivationKind.LEAKY_RELU: F.leaky_relu,
    ActivationKind.ELU: _elu,
    ActivationKind.SIGMOID: lambda values: values.sigmoid(),
    ActivationKind.TANH: lambda values: values.tanh(),
    ActivationKind.SOFTPLUS: _softplus,
    ActivationKind.SILU: F.silu,
    ActivationKind.GELU: F.gelu,
    ActivationKind.GELU_TANH: lambda values: F.gelu(values, approximate="tanh"),
    ActivationKind.CLAMP: lambda values, low, high: values.clamp(low, high),
    # as F.hardsigmoid, which cannot be differentiated twice
    ActivationKind.HARDSIGMOID: lambda values: (values + 3.0).clamp(0.0, 6.0) / 6.0,
    ActivationKind.HARDSWISH: F.hardswish,
    ActivationKind.SPLINE: _spline,
}

_SLOPES: dict[ActivationKind, Callable[..., tuple[float, float]]] = {
    ActivationKind.RELU: lambda: (0.0, 1.0),
    ActivationKind.LEAKY_RELU: lambda slope: (min(slope, 1.0), max(slope, 1.0)),
    ActivationKind.ELU: lambda alpha, scale, input_scale: (
        min(0.0, scale, scale * alpha * input_scale),
        max(0.0, scale, scale * alpha * input_scale),
    ),
    ActivationKind.SIGMOID: lambda: (0.0, 0.25),
    ActivationKind.TANH: lambda: (0.0, 1.0),
    ActivationKind.SOFTPLUS: lambda _beta: (0.0, 1.0),
    ActivationKind.SILU: lambda: (-0.0998393202, 1.0998393202),
    ActivationKind.GELU: lambda: (-0.1289041452, 1.1289041452),
    ActivationKind.GELU_TANH: lambda: (-0.1289930688, 1.1289930688),
    ActivationKind.CLAMP: lambda _low, _high: (0.0, 1.0),
    ActivationKind.HARDSIGMOID: lambda: (0.0, 1.0 / 6.0 + 1e-16),
    ActivationKind.HARDSWISH: lambda: (-0.5, 1.5),
    ActivationKind.SPLINE: _spline_slopes,
}

_TURNS: dict[ActivationKind, tuple[float, ...]] = {
    ActivationKind.SILU: (-1.2784645427610738,),
    ActivationKind.GELU: (-0.7517915246935645,),
    ActivationKind.GELU_TANH: (-0.7524614241,),
    ActivationKind.HARDSWISH: (-1.5,),
}

_PIECEWISE = {
    ActivationKind.RELU,
    ActivationKind.LEAKY_RELU,
    ActivationKind.CLAMP,
    ActivationKind.HARDSIGMOID,
    ActivationKind.SPLINE,
}
