"""Nets as dense matrices between units with bounded slopes, of any wiring.

What the oracles work on. Of the library it only uses how a graph's linear stretches
become matrices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.layers import Elementwise, LayerGraph, MaxPool
from robustcert.lipschitz.linear_region import region_from_activations, region_matrices

Array = NDArray[np.float64]
Slopes = tuple[Array, Array]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """``direct x + sum_j units[j] v_j``, v_j being the outputs of node j.

    ``direct`` is (rows, inputs), ``units[j]`` is (rows, units of node j).
    """

    direct: Array
    units: Mapping[int, Array] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """Units ``v = s(z)``; unit i's slopes lie in ``[low[i], high[i]]``."""

    rows: Rows
    low: Array
    high: Array


@dataclass(frozen=True, slots=True, eq=False)
class Net:
    """Nodes in topological order, and the read-out."""

    nodes: tuple[Node, ...]
    output: Rows

    def logit(self, weights: Array) -> Net:
        """The same net with the one output ``weights @ y``."""
        units = {j: weights[None] @ matrix for j, matrix in self.output.units.items()}
        return Net(self.nodes, Rows(weights[None] @ self.output.direct, units))


def chain(weights: list[Array], slopes: tuple[float, float] = (0.0, 1.0)) -> Net:
    """``x -> W_l s(... s(W_1 x))``."""
    nodes: list[Node] = []
    for position, weight in enumerate(weights[:-1]):
        ends = (np.full(len(weight), end) for end in slopes)
        nodes.append(Node(_link(weight, position, weights[0]), *ends))
    return Net(tuple(nodes), _link(weights[-1], len(nodes), weights[0]))


def _link(weight: Array, position: int, first: Array) -> Rows:
    if position == 0:
        return Rows(weight)
    return Rows(np.zeros((len(weight), first.shape[1])), {position - 1: weight})


def read(graph: LayerGraph, slopes: Mapping[int, Slopes] | None = None) -> Net:
    """The net of a graph: one node an activation layer.

    Args:
        graph: any graph of affine and elementwise layers.
        slopes: of the units of the layer at a position, where they are known better
            than everywhere: each end has the layer's number of units.

    Raises:
        UnsupportedLayerError: the graph has a max pooling, which has no slopes.
    """
    exact = {} if slopes is None else slopes
    numbers: dict[int, int] = {}
    nodes: list[Node] = []
    for position, layer in enumerate(graph.layers):
        if isinstance(layer, MaxPool):
            raise UnsupportedLayerError(layer.name, "a maximum is no elementwise map")
        if isinstance(layer, Elementwise):
            ends = (np.full(layer.size, end) for end in layer.activation.slopes)
            rows = _region(graph, layer.inputs[0], numbers)
            nodes.append(Node(rows, *exact.get(position, ends)))
            numbers[position] = len(nodes) - 1
    return Net(tuple(nodes), _region(graph, len(graph.layers) - 1, numbers))


def _region(graph: LayerGraph, target: int, numbers: Mapping[int, int]) -> Rows:
    region = region_from_activations(graph, target)
    parts = {
        part.source: part.matrix.numpy() for part in region_matrices(graph, region)
    }
    nothing = np.zeros((graph.layers[target].size, graph.layers[0].size))
    direct = parts.pop(0, nothing)
    return Rows(direct, {numbers[source]: parts[source] for source in parts})


def channel_groups(graph: LayerGraph) -> NDArray[np.intp]:
    """Each unit's group: a convolution's channel, or the unit itself where dense."""
    groups: list[int] = []
    for layer in graph.layers:
        if isinstance(layer, Elementwise):
            start = groups[-1] + 1 if groups else 0
            places = layer.size // layer.shape[0]
            groups += [start + unit // places for unit in range(layer.size)]
    return np.array(groups, dtype=np.intp)


def jacobian(net: Net, slopes: list[Array]) -> Array:
    """The Jacobian ``(outputs, inputs)`` where node k's units have ``slopes[k]``."""
    through: list[Array] = []
    for node, slope in zip(net.nodes, slopes, strict=True):
        through.append(slope[:, None] * _followed(node.rows, through))
    return _followed(net.output, through)


def _followed(rows: Rows, through: list[Array]) -> Array:
    return rows.direct + sum(m @ through[j] for j, m in rows.units.items())
