"""How many samples and forms are worked on at once: what memory and cache hold."""

from __future__ import annotations

from robustcert.graph.layers import (
    Add,
    Affine,
    Conv,
    Elementwise,
    LayerGraph,
    Shape,
)

_SAMPLES = 64
_UNITS = 2**21  # of all samples, each with bounds, lines and errors
_NUMBERS = 2**18  # of the widest layer, for all rows together: 2 MiB in float64


def samples_at_once(graph: LayerGraph) -> int:
    """Samples whose bounds are held together, at least 1."""
    units = sum(layer.size for layer in graph.layers)
    return max(1, min(_SAMPLES, _UNITS // units))


def rows_at_once(graph: LayerGraph, target: int) -> int:
    """Units of a layer whose two bounds are worked out together, at least 1."""
    return max(1, _NUMBERS // (2 * row_width(graph, target)))


def row_width(graph: LayerGraph, target: int) -> int:
    """Largest number of coefficients that one unit's form has at a layer."""
    layers = graph.layers
    start = layers[target].shape
    sizes: dict[int, Shape] = {target: (1, 1) if len(start) == 3 else start[1:]}
    widest = 1
    for position in range(target, -1, -1):
        if position not in sizes:
            continue
        layer, extent = layers[position], sizes[position]
        widest = max(widest, layer.shape[0] * _area(extent))
        for source in layer.inputs:
            own = _behind(graph, position, source, extent)
            other = sizes.get(source, own)
            sizes[source] = tuple(map(max, own, other))
    return widest


def _behind(graph: LayerGraph, position: int, source: int, extent: Shape) -> Shape:
    """Height and width of the window of a layer's input, at most the whole."""
    layer, whole = graph.layers[position], graph.layers[source].shape[1:]
    if isinstance(layer, Elementwise | Affine | Add):
        return extent
    if not isinstance(layer, Conv):
        return whole
    grown = (
        (size - 1) * stride + dilation * (kernel - 1) + 1
        for size, stride, dilation, kernel in zip(
            extent, layer.stride, layer.dilation, layer.weight.shape[2:], strict=True
        )
    )
    return tuple(map(min, grown, whole))


def _area(extent: Shape) -> int:
    area = 1
    for size in extent:
        area *= size
    return area
