"""Where a layer pads what no activation has set to zero, a mask is put in front."""

from __future__ import annotations

from dataclasses import replace

from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.layers import (
    Add,
    Affine,
    AveragePool,
    Concat,
    Conv,
    Elementwise,
    Layer,
    LayerGraph,
)
from robustcert.lipschitz.lipsdp.torus.places import needs_zeros, places

_IDENTITY = Activation(ActivationKind.LEAKY_RELU, (1.0,))
_STAYS = (Conv, AveragePool, Affine, Add, Concat)


def with_masks(graph: LayerGraph) -> LayerGraph:
    """The same function, with an identity in front of some layers.

    On a torus the output of a linear layer is not zero off its valid positions. A layer
    that reads there, with activations still to come, reads an identity activation
    behind it instead, called ``"NAME (mask)"``: on the torus that has slope 1 at valid
    positions and 0 elsewhere, elsewhere slope 1.

    Args:
        graph: without max pooling.
    """
    while (pair := _unmasked(graph)) is not None:
        graph = _masked(graph, *pair)
    return graph


def _unmasked(graph: LayerGraph) -> tuple[int, list[int]] | None:
    """The first linear layer that needs a mask, and the layers that read it there."""
    known = places(graph)
    for source, place in known.items():
        readers = [
            reader
            for reader in graph.consumers(source)
            if reader not in known
            and not place.zero_outside
            and needs_zeros(graph, graph.layers[reader])
            and _meets_activation(graph, reader)
        ]
        if readers:
            return source, readers
    return None


def _meets_activation(graph: LayerGraph, position: int) -> bool:
    """Whether an activation follows before the grid is left."""
    readers = [(i, graph.layers[i]) for i in graph.consumers(position)]
    return any(isinstance(layer, Elementwise) for _, layer in readers) or any(
        _meets_activation(graph, i) for i, layer in readers if isinstance(layer, _STAYS)
    )


def _masked(graph: LayerGraph, source: int, readers: list[int]) -> LayerGraph:
    """The graph with a mask right behind ``source``, read by ``readers``."""
    layers: list[Layer] = []
    for position, layer in enumerate(graph.layers):
        inputs = tuple(
            i + 1 if i > source or (i == source and position in readers) else i
            for i in layer.inputs
        )
        layers.append(replace(layer, inputs=inputs))
        if position == source:
            name = f"{layer.name} (mask)"
            layers.append(
                Elementwise(name, (source,), layer.shape, activation=_IDENTITY)
            )
    return LayerGraph(tuple(layers))
