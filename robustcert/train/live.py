"""A module read as layers that hold its own parameters.

What is computed from such a graph is differentiated by the module's parameters, so a
bound written for graphs can be trained. A graph is read again at every step: that
takes microseconds, and tensors made from parameters are then never stale.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.execute import apply
from robustcert.graph.layers import (
    AveragePool,
    Conv,
    Elementwise,
    Input,
    Layer,
    LayerGraph,
    Linear,
    MaxPool,
    Reshape,
    Shape,
)
from robustcert.train.lipschitz_layers import AOLLinear, MaxMin, SLLBlock
from robustcert.train.splines import LinearSpline


@dataclass(frozen=True, slots=True, eq=False)
class Contraction(Layer):
    """A map of constant 1 in L2 by construction; how it works inside is not read."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the next layer stands.

    Attributes:
        name: of the module, such as ``2`` or ``body.0``.
        position: of the layer it reads.
        shape: what it reads, without the batch.
    """

    name: str
    position: int
    shape: Shape


def live_graph(model: nn.Module, shape: Shape) -> LayerGraph:
    """The layers of a model that applies one module after the other.

    Args:
        model: an ``nn.Sequential``, perhaps of others, or a single module.
        shape: of an input, without the batch.

    Returns:
        A graph in the dtype and on the device of the parameters.

    Raises:
        UnsupportedLayerError: names the module without a rule. Batch norm and dropout
            have none: what they compute in training is not what is certified.
    """
    layers: list[Layer] = [Input("input", (), tuple(shape))]
    for name, module in _in_order(model, ""):
        place = Place(name, len(layers) - 1, layers[-1].shape)
        layer = _read(module, place)
        if layer is not None:
            layers.append(layer)
    return LayerGraph(tuple(layers))


def _in_order(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    if type(module) is not nn.Sequential:
        yield name or "model", module
        return
    for child, inner in module.named_children():
        yield from _in_order(inner, f"{name}.{child}" if name else child)


def _read(module: nn.Module, place: Place) -> Layer | None:
    rule = _RULES.get(type(module))
    if rule is None:
        raise UnsupportedLayerError(
            place.name,
            f"training does not read modules of type {type(module).__name__}",
            remedy="Build the net of torch.nn's plain layers in an nn.Sequential, "
            "or use a trainer that needs no bounds, such as adversarial.",
        )
    layer = rule(module, place)
    if layer is None or layer.shape:
        return layer
    return replace(layer, shape=_shape_behind(layer, place))


def _shape_behind(layer: Layer, place: Place) -> Shape:
    """By running the layer on a batch of no inputs."""
    weight = getattr(layer, "weight", torch.empty(0))
    with torch.no_grad():
        try:
            outputs = apply(layer, [weight.new_empty(0, *place.shape)])
        except RuntimeError as error:
            raise UnsupportedLayerError(
                place.name, f"cannot read inputs of shape {place.shape}: {error}"
            ) from error
    return tuple(outputs.shape[1:])


def _linear(module: nn.Linear | AOLLinear, place: Place) -> Layer:
    weight = module.weight if isinstance(module, nn.Linear) else module.effective()
    return Linear(place.name, (place.position,), (), weight, module.bias)


def _conv(module: nn.Conv1d | nn.Conv2d, place: Place) -> Layer:
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        raise UnsupportedLayerError(
            place.name, "only zero padding by numbers is read in training"
        )
    return Conv(
        place.name,
        (place.position,),
        (),
        module.weight,
        module.bias,
        stride=tuple(module.stride),
        padding=tuple((side, side) for side in module.padding),
        dilation=tuple(module.dilation),
        groups=module.groups,
    )


def _max_pool(module: nn.MaxPool2d, place: Place) -> Layer:
    return MaxPool(
        place.name,
        (place.position,),
        (),
        kernel=_pair(module.kernel_size),
        stride=_pair(module.stride),
        padding=_pair(module.padding),
        dilation=_pair(module.dilation),
        ceil=module.ceil_mode,
    )


def _average_pool(module: nn.AvgPool2d, place: Place) -> Layer:
    if module.divisor_override is not None:
        raise UnsupportedLayerError(place.name, "its divisor is overridden")
    return AveragePool(
        place.name,
        (place.position,),
        (),
        kernel=_pair(module.kernel_size),
        stride=_pair(module.stride),
        padding=_pair(module.padding),
        ceil=module.ceil_mode,
        count_padding=module.count_include_pad,
    )


def _flatten(module: nn.Flatten, place: Place) -> Layer | None:
    if (module.start_dim, module.end_dim) != (1, -1):
        raise UnsupportedLayerError(place.name, "it does not flatten whole inputs")
    if len(place.shape) == 1:
        return None
    size = torch.Size(place.shape).numel()
    return Reshape(place.name, (place.position,), (size,))


def _nothing(_: nn.Identity, __: Place) -> None:
    return None


def _contraction(_: nn.Module, place: Place) -> Layer:
    return Contraction(place.name, (place.position,), place.shape)


def _bend(kind: ActivationKind, *fields: str) -> Callable[[Any, Place], Layer]:
    """A rule for an activation whose parameters are these fields of the module."""

    def rule(module: nn.Module, place: Place) -> Layer:
        parameters = tuple(float(getattr(module, field)) for field in fields)
        activation = Activation(kind, parameters)
        return Elementwise(place.name, (place.position,), place.shape, activation)

    return rule


def _gelu(module: nn.GELU, place: Place) -> Layer:
    tanh = module.approximate == "tanh"
    kind = ActivationKind.GELU_TANH if tanh else ActivationKind.GELU
    return _bend(kind)(module, place)


def _softplus(module: nn.Softplus, place: Place) -> Layer:
    if module.threshold != 20:
        raise UnsupportedLayerError(place.name, "its threshold is not 20")
    return _bend(ActivationKind.SOFTPLUS, "beta")(module, place)


def _pair(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return tuple(itertools.repeat(value, 2)) if isinstance(value, int) else value


_RULES: dict[type[nn.Module], Callable[[Any, Place], Layer | None]] = {
    nn.Linear: _linear,
    AOLLinear: _linear,
    nn.Conv1d: _conv,
    nn.Conv2d: _conv,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _average_pool,
    nn.Flatten: _flatten,
    nn.Identity: _nothing,
    nn.ReLU: _bend(ActivationKind.RELU),
    nn.LeakyReLU: _bend(ActivationKind.LEAKY_RELU, "negative_slope"),
    nn.Sigmoid: _bend(ActivationKind.SIGMOID),
    nn.Tanh: _bend(ActivationKind.TANH),
    nn.SiLU: _bend(ActivationKind.SILU),
    nn.Softplus: _softplus,
    nn.GELU: _gelu,
    MaxMin: _contraction,
    SLLBlock: _contraction,
    LinearSpline: _contraction,
}
