"""Run a graph on a batch; differentiable, in the dtype of graph and inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robustcert.errors import UnsupportedLayerError
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
)

Arguments = Sequence[Tensor]


def run(graph: LayerGraph, inputs: Tensor) -> Tensor:
    """Logits ``(N, K)`` of ``inputs`` ``(N, *input_shape)``."""
    return values(graph, inputs)[-1]


def values(graph: LayerGraph, inputs: Tensor) -> list[Tensor]:
    """Output ``(N, *shape)`` of every layer, in the graph's order."""
    outputs: list[Tensor] = [inputs]
    for layer in graph.layers[1:]:
        outputs.append(apply(layer, [outputs[source] for source in layer.inputs]))
    return outputs


def apply(layer: Layer, arguments: Arguments) -> Tensor:
    """The layer's output ``(N, *shape)`` for its inputs, one tensor each."""
    rule = _RULES.get(type(layer))
    if rule is None:
        raise UnsupportedLayerError(layer.name, f"{layer.kind} cannot be executed")
    return rule(layer, arguments)


def apply_linear(layer: Layer, arguments: Arguments) -> Tensor:
    """The layer without its constant part: ``apply(x) - apply(0)``, exactly.

    Only for :data:`~robustcert.graph.layers.LINEAR_KINDS`.
    """
    match layer:
        case Linear():
            return F.linear(arguments[0], layer.weight)
        case Conv():
            return _convolve(layer, arguments[0], None)
        case Affine():
            return arguments[0] * layer.scale
        case _:
            return apply(layer, arguments)


def _linear(layer: Linear, arguments: Arguments) -> Tensor:
    return F.linear(arguments[0], layer.weight, layer.bias)


def _conv(layer: Conv, arguments: Arguments) -> Tensor:
    return _convolve(layer, arguments[0], layer.bias)


def _convolve(layer: Conv, batch: Tensor, bias: Tensor | None) -> Tensor:
    convolution = F.conv1d if layer.weight.ndim == 3 else F.conv2d
    if all(before == after for before, after in layer.padding):
        padding = tuple(before for before, _ in layer.padding)
    else:
        batch = F.pad(batch, [side for pair in layer.padding[::-1] for side in pair])
        padding = (0,) * len(layer.padding)
    return convolution(
        batch, layer.weight, bias, layer.stride, padding, layer.dilation, layer.groups
    )


def _affine(layer: Affine, arguments: Arguments) -> Tensor:
    return arguments[0] * layer.scale + layer.shift


def _elementwise(layer: Elementwise, arguments: Arguments) -> Tensor:
    return layer.activation(arguments[0])


def _average_pool(layer: AveragePool, arguments: Arguments) -> Tensor:
    pool: Callable[..., Tensor] = (
        F.avg_pool1d if len(layer.kernel) == 1 else F.avg_pool2d
    )
    return pool(
        arguments[0],
        layer.kernel,
        layer.stride,
        layer.padding,
        layer.ceil,
        layer.count_padding,
    )


def _mean(layer: Mean, arguments: Arguments) -> Tensor:
    return arguments[0].mean([dim + 1 for dim in layer.dims], keepdim=layer.keep)


def _max_pool(layer: MaxPool, arguments: Arguments) -> Tensor:
    pool = F.max_pool1d if len(layer.kernel) == 1 else F.max_pool2d
    return pool(
        arguments[0],
        layer.kernel,
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.ceil,
    )


def _reshape(layer: Reshape, arguments: Arguments) -> Tensor:
    return arguments[0].reshape(-1, *layer.shape)


def _permute(layer: Permute, arguments: Arguments) -> Tensor:
    return arguments[0].permute(0, *(dim + 1 for dim in layer.order))


def _gather(layer: Gather, arguments: Arguments) -> Tensor:
    flat = arguments[0].flatten(1)
    outside = layer.places < 0
    read = layer.places.clamp(min=0).flatten()
    moved = flat.index_select(1, read).reshape(-1, *layer.places.shape)
    # not a product with 0, which would turn what is infinite into NaN
    return moved.masked_fill(outside, 0.0) if bool(outside.any()) else moved


def _add(layer: Add, arguments: Arguments) -> Tensor:
    return torch.add(arguments[0], arguments[1], alpha=layer.weight)


def _concat(layer: Concat, arguments: Arguments) -> Tensor:
    return torch.cat(list(arguments), dim=layer.dim + 1)


_RULES: dict[type[Layer], Callable[[Any, Arguments], Tensor]] = {
    Linear: _linear,
    Conv: _conv,
    Affine: _affine,
    Elementwise: _elementwise,
    AveragePool: _average_pool,
    Mean: _mean,
    MaxPool: _max_pool,
    Reshape: _reshape,
    Permute: _permute,
    Gather: _gather,
    Add: _add,
    Concat: _concat,
}
