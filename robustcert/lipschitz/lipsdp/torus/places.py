"""Which layers can stand on a torus.

A net with zero padding is part of a circular one: values are put on a torus with room
beside their *valid* positions, and everything off these is multiplied by zero after
each activation, which is a slope in [0, 1] like any other. What is read off the valid
positions must be zero. The input and every activation's output are zero there; the
output of a linear layer is not in general, so a layer that reads beyond that border
has no place on the torus.
"""

from __future__ import annotations

from dataclasses import dataclass

from robustcert.graph.layers import (
    Add,
    Affine,
    AveragePool,
    Concat,
    Conv,
    Elementwise,
    Input,
    Layer,
    LayerGraph,
    Shape,
)
from robustcert.lipschitz.lipsdp.torus.windows import (
    as_convolution,
    keeps_zeros,
    reads_outside,
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a layer's values stand.

    Attributes:
        stride: distance of neighbours, in positions of the input, one a dimension.
        zero_outside: whether two inputs' values are equal off the valid positions.
    """

    stride: Shape
    zero_outside: bool


def places(graph: LayerGraph) -> dict[int, Place]:
    """The layers that can stand on a torus, by position."""
    found: dict[int, Place] = {}
    for position, layer in enumerate(graph.layers):
        place = _place(graph, layer, found)
        if place is not None:
            found[position] = place
    return found


def needs_zeros(graph: LayerGraph, layer: Layer) -> bool:
    """Whether the layer reads positions beyond the border of its input."""
    shape = graph.layers[layer.inputs[0]].shape
    convolution = as_convolution(layer, shape)
    return convolution is not None and reads_outside(convolution, shape)


def _place(graph: LayerGraph, layer: Layer, found: dict[int, Place]) -> Place | None:
    if isinstance(layer, Input):
        dims = len(layer.shape) - 1
        return Place((1,) * dims, zero_outside=True) if dims in (1, 2) else None
    if any(source not in found for source in layer.inputs):
        return None
    sources = [found[source] for source in layer.inputs]
    match layer:
        case Elementwise():
            return Place(sources[0].stride, zero_outside=True)
        case Affine():
            return sources[0] if _is_per_channel(layer) else None
        case Conv() | AveragePool():
            return _place_of_window(graph, layer, sources[0])
        case Add() | Concat():
            return _place_of_join(graph, layer, sources)
        case _:
            return None


def _is_per_channel(layer: Affine) -> bool:
    """Whether all positions of a channel have the same scale."""
    scale = layer.scale.expand(layer.shape).flatten(1)
    return bool((scale == scale[:, :1]).all())


def _place_of_window(graph: LayerGraph, layer: Layer, source: Place) -> Place | None:
    shape = graph.layers[layer.inputs[0]].shape
    convolution = as_convolution(layer, shape)
    if convolution is None:
        return None
    if not source.zero_outside and reads_outside(convolution, shape):
        return None
    stride = tuple(
        a * b for a, b in zip(source.stride, convolution.stride, strict=True)
    )
    return Place(stride, source.zero_outside and keeps_zeros(convolution, shape))


def _place_of_join(
    graph: LayerGraph, layer: Layer, sources: list[Place]
) -> Place | None:
    shapes = [graph.layers[source].shape for source in layer.inputs]
    alike = all(shape[1:] == layer.shape[1:] for shape in shapes)
    if isinstance(layer, Concat) and layer.dim != 0:
        return None
    if isinstance(layer, Add) and any(shape != layer.shape for shape in shapes):
        return None
    if not alike or any(source.stride != sources[0].stride for source in sources):
        return None
    return Place(sources[0].stride, all(source.zero_outside for source in sources))
