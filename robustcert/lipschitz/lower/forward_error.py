"""How far float arithmetic may have moved the outputs of a graph.

A running error analysis: next to each layer's values goes a bound on their distance to
the values of exact arithmetic.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.execute import apply, apply_linear
from robustcert.graph.layers import (
    Add,
    Affine,
    AveragePool,
    Concat,
    Conv,
    Elementwise,
    Gather,
    Layer,
    LayerGraph,
    Linear,
    MaxPool,
    Mean,
    Permute,
    Reshape,
    Shape,
)
from robustcert.lipschitz.magnitude import magnitude, terms
from robustcert.lipschitz.rounding import gamma

_FUNCTION_ULPS = 16  # units in the last place an activation function may be off by
_SOFTPLUS_CUT = 2.1e-9  # torch takes softplus(x) = x above 20 / beta


def outputs_with_errors(graph: LayerGraph, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs ``(N, K)`` and entrywise bounds of their rounding error.

    Args:
        graph: in the dtype the outputs are computed in.
        inputs: ``(N, *shape)`` in that dtype, taken to be exact.

    Reference:
        Higham. Accuracy and Stability of Numerical Algorithms. 2002, section 3.3.
    """
    values = [inputs]
    errors = [torch.zeros_like(inputs)]
    for layer in graph.layers[1:]:
        arguments = [values[source] for source in layer.inputs]
        uncertain = [errors[source] for source in layer.inputs]
        shape = graph.layers[layer.inputs[0]].shape
        values.append(apply(layer, arguments))
        errors.append(_error(layer, shape, arguments, uncertain))
    return values[-1], errors[-1]


def _error(
    layer: Layer, shape: Shape, arguments: list[Tensor], errors: list[Tensor]
) -> Tensor:
    unit = torch.finfo(arguments[0].dtype).eps / 2.0
    match layer:
        case Linear() | Conv() | Affine() | AveragePool() | Mean() | Add():
            whole = magnitude(layer)
            sizes = apply(whole, [argument.abs() for argument in arguments])
            rounding = gamma(terms(layer, shape) + 2, unit) * sizes
            error = apply_linear(whole, errors) + rounding
        case Elementwise():
            error = _activation_error(layer.activation, arguments[0], errors[0], unit)
        case MaxPool() | Reshape() | Permute() | Gather() | Concat():
            return apply(layer, errors)
        case _:
            raise UnsupportedLayerError(
                layer.name, f"the rounding error of {layer.kind} is unknown"
            )
    return error * (1.0 + gamma(2 * terms(layer, shape) + 8, unit))


def _activation_error(
    activation: Activation, argument: Tensor, error: Tensor, unit: float
) -> Tensor:
    steepest = max(abs(slope) for slope in activation.slopes)
    carried = steepest * error
    if activation.kind in (ActivationKind.RELU, ActivationKind.CLAMP):
        return carried
    sizes = activation.sizes(argument, activation(argument))
    cut = _SOFTPLUS_CUT if activation.kind is ActivationKind.SOFTPLUS else 0.0
    return (
        carried
        + _FUNCTION_ULPS * unit * sizes
        + cut / (activation.parameters[0] if cut else 1.0)
    )
