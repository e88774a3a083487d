"""A bound on each layer's Lipschitz constant as a function of the input.

Layers after one another multiply; a sum adds; a concatenation is the root of the sum
of squares in L2 and the maximum in L-infinity. Where a stretch without activations is
small enough to be written out, its matrix is bounded instead: a product of matrices
has at most the product of the norms, and ``I + W`` at most ``1 + |W|``.
"""

from __future__ import annotations

from robustcert.errors import UnsoundModelError, UnsupportedLayerError
from robustcert.graph.fold import folded
from robustcert.graph.layers import (
    LINEAR_KINDS,
    Add,
    Affine,
    Concat,
    Input,
    Layer,
    LayerGraph,
    Permute,
    Reshape,
)
from robustcert.lipschitz.convolution_norm import is_small
from robustcert.lipschitz.linear_region import (
    LinearRegion,
    region_from_activations,
    region_matrices,
)
from robustcert.lipschitz.magnitude import finite_layer
from robustcert.lipschitz.matrix_norm import matrix_norm_bound
from robustcert.lipschitz.norm_table import NormTable
from robustcert.lipschitz.rounding import hypotenuse_up, product_up, sum_up
from robustcert.results.norm import Norm


def sound_folded(graph: LayerGraph) -> LayerGraph:
    """The folded graph in float64, after a check that its numbers are finite.

    Raises:
        UnsoundModelError: a weight is NaN or infinite, or folding overflows.
    """
    check_finite(graph)
    simple = folded(graph)
    check_finite(simple)
    return simple


def check_finite(graph: LayerGraph) -> None:
    """Raise unless every number in the graph is finite.

    Raises:
        UnsoundModelError: names the layer.
    """
    for layer in graph.layers:
        if not finite_layer(layer):
            raise UnsoundModelError(
                f"layer {layer.name!r} holds a weight that is NaN or infinite"
            )


def layer_bounds(
    graph: LayerGraph, norm: Norm, table: NormTable | None = None
) -> tuple[float, ...]:
    """Upper bound of each layer's Lipschitz constant as a function of the input.

    Args:
        graph: from :func:`sound_folded`.
        norm: of inputs and of every layer's output.
        table: norms that are known already, and where new ones are put.

    Raises:
        UnsupportedLayerError: a layer has no rule.
    """
    norms = NormTable() if table is None else table
    bounds: list[float] = []
    for position, layer in enumerate(graph.layers):
        bound = _by_rule(graph, layer, bounds, norm, norms)
        if _ends_region(graph, position):
            bound = min(bound, _by_matrix(graph, position, bounds, norm))
        bounds.append(bound)
    return tuple(bounds)


def _by_rule(
    graph: LayerGraph,
    layer: Layer,
    bounds: list[float],
    norm: Norm,
    norms: NormTable,
) -> float:
    sources = [bounds[source] for source in layer.inputs]
    match layer:
        case Input():
            return 1.0
        case Add():
            _require_equal_shapes(graph, layer)
            return sum_up(sources[0], product_up(abs(layer.weight), sources[1]))
        case Concat():
            return _joined(sources, norm)
        case _:
            shape = graph.layers[layer.inputs[0]].shape
            return product_up(norms.bound(layer, shape, norm), sources[0])


def _joined(sources: list[float], norm: Norm) -> float:
    if norm is Norm.LINF:
        return max(sources)
    total = 0.0
    for source in sources:
        total = hypotenuse_up(total, source)
    return total


def _require_equal_shapes(graph: LayerGraph, layer: Add) -> None:
    if any(graph.layers[i].shape != layer.shape for i in layer.inputs):
        raise UnsupportedLayerError(
            layer.name, "it copies an input to a larger shape before adding"
        )


def _ends_region(graph: LayerGraph, position: int) -> bool:
    """Whether an affine stretch ends here: something else reads it, or nothing."""
    if not isinstance(graph.layers[position], LINEAR_KINDS):
        return False
    readers = [graph.layers[reader] for reader in graph.consumers(position)]
    return not readers or any(
        not isinstance(reader, LINEAR_KINDS) for reader in readers
    )


def _by_matrix(
    graph: LayerGraph, position: int, bounds: list[float], norm: Norm
) -> float:
    """The bound from the region's matrices; infinite where they are too large."""
    region = region_from_activations(graph, position)
    if not (_is_composed(graph, region) and _can_be_written_out(graph, region)):
        return float("inf")
    total = 0.0
    for part in region_matrices(graph, region):
        size = sum_up(
            matrix_norm_bound(part.matrix, norm), matrix_norm_bound(part.error, norm)
        )
        total = sum_up(total, product_up(size, bounds[part.source]))
    return total


def _is_composed(graph: LayerGraph, region: LinearRegion) -> bool:
    """Whether a matrix can beat the rules.

    It can where some path to a source crosses two layers with a norm of their own, or
    where two paths lead to the same source.
    """
    crossed = dict.fromkeys(region.sources, 0)
    paths: dict[int, tuple[int, ...]] = {source: (source,) for source in region.sources}
    for member in region.members:
        layer = graph.layers[member]
        before = max(crossed[i] for i in layer.inputs)
        crossed[member] = before + _has_uneven_norm(layer)
        paths[member] = tuple(end for i in layer.inputs for end in paths[i])
        if crossed[member] > 1 or len(set(paths[member])) < len(paths[member]):
            return True
    return False


def _has_uneven_norm(layer: Layer) -> bool:
    """Whether the linear layer stretches some directions more than others."""
    if isinstance(layer, Affine):
        return not bool((layer.scale.abs() == layer.scale.abs().max()).all())
    return not isinstance(layer, Reshape | Permute | Add | Concat)


def _can_be_written_out(graph: LayerGraph, region: LinearRegion) -> bool:
    columns = sum(graph.layers[source].size for source in region.sources)
    return is_small(graph.layers[region.target].size, columns)
