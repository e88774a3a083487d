"""How many roundings the coefficients of a program may have seen."""

from __future__ import annotations

from robustcert.graph.layers import (
    Conv,
    Elementwise,
    Input,
    Layer,
    LayerGraph,
    Linear,
    Reshape,
)
from robustcert.lipschitz.magnitude import terms


def roundings(graph: LayerGraph) -> int:
    """More than any coefficient or sum takes: all layers' sums, and all units'.

    Terms that are 0 count, too: whether a product leaves them out plays no part.

    Args:
        graph: with ReLU as its only activation.
    """
    count = 64 + 4 * graph.layers[0].size
    for layer in graph.layers[1:]:
        if isinstance(layer, Elementwise):
            count += 2 * layer.size
        elif not isinstance(layer, Input | Reshape):
            source = graph.layers[layer.inputs[0]].shape
            count += terms(layer, source) + _terms_back(layer) + 8
    return count + 2 * len(graph.layers)


def _terms_back(layer: Layer) -> int:
    """Number of products in one coefficient of the layer's input."""
    if isinstance(layer, Linear | Conv):
        return layer.weight.numel() // layer.weight.shape[1]
    return layer.size
