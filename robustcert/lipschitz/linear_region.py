"""The affine stretch of a graph between activations, as one matrix a source."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.graph.execute import apply_linear
from robustcert.graph.layers import LINEAR_KINDS, LayerGraph
from robustcert.lipschitz.magnitude import magnitude, terms
from robustcert.lipschitz.rounding import gamma

_CHUNK = 2**22  # numbers a layer may hold for one batch of rows


@dataclass(frozen=True, slots=True)
class LinearRegion:
    """Layer ``target`` as an affine map of the layers at ``sources``.

    ``members`` are the layers in between, the target included, in the graph's order.
    """

    target: int
    sources: tuple[int, ...]
    members: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RegionMatrix:
    """The map from one source, and how far rounding may have moved it, entrywise."""

    source: int
    matrix: Tensor
    error: Tensor


def region_from_activations(graph: LayerGraph, target: int) -> LinearRegion:
    """The region of ``target`` that reaches back to activations, pools and input."""
    nonlinear = frozenset(
        position
        for position, layer in enumerate(graph.layers)
        if not isinstance(layer, LINEAR_KINDS)
    )
    return region_from(graph, target, nonlinear)


def region_from(
    graph: LayerGraph, target: int, borders: frozenset[int]
) -> LinearRegion:
    """The region of ``target`` that reaches back to the layers at ``borders``."""
    members: set[int] = set()
    sources: set[int] = set()
    waiting = [target]
    while waiting:
        position = waiting.pop()
        if position in borders:
            sources.add(position)
        elif position not in members:
            members.add(position)
            waiting.extend(graph.layers[position].inputs)
    return LinearRegion(target, tuple(sorted(sources)), tuple(sorted(members)))


def region_matrices(graph: LayerGraph, region: LinearRegion) -> list[RegionMatrix]:
    """Matrix ``(target size, source size)`` of each source, by pulling rows back.

    ``error`` bounds entrywise what rounding did: ``gamma(roundings) |A_l| ... |A_1|``.
    """
    whole = LayerGraph(
        tuple(
            magnitude(layer) if position in region.members else layer
            for position, layer in enumerate(graph.layers)
        )
    )
    roundings = sum(
        terms(graph.layers[m], graph.layers[graph.layers[m].inputs[0]].shape) + 2
        for m in region.members
    )
    return [
        RegionMatrix(source, matrix, gamma(2 * roundings) * bound)
        for source, matrix, bound in zip(
            region.sources, _rows(graph, region), _rows(whole, region), strict=True
        )
    ]


def _rows(graph: LayerGraph, region: LinearRegion) -> list[Tensor]:
    target = graph.layers[region.target]
    if not region.members:  # the target is its own source
        return [torch.eye(target.size, dtype=torch.float64) for _ in region.sources]
    widest = max(graph.layers[m].size for m in (*region.members, *region.sources))
    step = max(1, _CHUNK // widest)
    parts = [
        _pulled_back(graph, region, range(start, min(start + step, target.size)))
        for start in range(0, target.size, step)
    ]
    return [torch.cat(matrices) for matrices in zip(*parts, strict=True)]


def _pulled_back(
    graph: LayerGraph, region: LinearRegion, rows: range
) -> tuple[Tensor, ...]:
    """The given rows of each source's matrix."""
    with torch.enable_grad():
        leaves = {
            source: torch.zeros(
                (len(rows), *graph.layers[source].shape),
                dtype=torch.float64,
                requires_grad=True,
            )
            for source in region.sources
        }
        values = dict(leaves)
        for member in region.members:
            layer = graph.layers[member]
            values[member] = apply_linear(layer, [values[i] for i in layer.inputs])
        chosen = torch.arange(len(rows)), torch.tensor(rows)
        picked = values[region.target].flatten(1)[chosen].sum()
        gradients = torch.autograd.grad(picked, list(leaves.values()))
    return tuple(gradient.flatten(1) for gradient in gradients)
