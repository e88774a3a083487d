"""The linear maps behind one activation, from what stands in front of it.

The *frontier* holds the values that later layers read, layer after layer, units
(channels on a torus) side by side. With the frontier u, the activation's inputs z, a
part of u, and slopes in [low, high], the activation's outputs are ``low z + (high -
low) v``, where v has slopes in [0, 1]. The next frontier is ``carry u + spread v``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from robustcert.graph.layers import (
    Add,
    Affine,
    AveragePool,
    Conv,
    Layer,
    LayerGraph,
    Shape,
)
from robustcert.lipschitz.check.definite import Array
from robustcert.lipschitz.check.fourier import (
    WAVES,
    Frequencies,
    symbol,
    symbol_bound,
    transformed,
)
from robustcert.lipschitz.check.pull_back import (
    FOLDING,
    magnitude,
    pulled_back,
    roundings,
)
from robustcert.lipschitz.check.surroundings import Surroundings
from robustcert.lipschitz.check.tori import channel_scale

Rows = dict[int, Array]
"""Rows of a map by the layer that they read."""


class Maps(Protocol):
    """Rows from the layers in front of a step, and from its source, to what follows."""

    @property
    def bounds(self) -> Rows:
        """``(R, n)`` for each layer read: above every entry's absolute value."""
        ...

    @property
    def roundings(self) -> int:
        """An entry is off by this many roundoffs times its bound, at most."""
        ...

    def rows(self, chosen: slice) -> Rows:
        """``(B, R, n)`` for each layer read, at the chosen frequencies."""
        ...


Rule = Callable[[Layer, Array], list[Array]]
"""Rows at a layer's inputs from rows at its output."""


@dataclass(frozen=True, slots=True, eq=False)
class DenseMaps:
    """Matrices ``(R, n)`` between units; there is one frequency."""

    bounds: Rows
    roundings: int
    matrices: Rows

    def rows(self, _: slice) -> Rows:
        """``(1, R, n)`` for each layer read."""
        return {leaf: matrix[None] for leaf, matrix in self.matrices.items()}


@dataclass(frozen=True, slots=True, eq=False)
class ChannelMaps:
    """Maps from a torus to one, frequency by frequency.

    Attributes:
        bounds: see :class:`Maps`.
        roundings: see :class:`Maps`.
        around: the step and its layers.
        frequencies: of the torus in front of the step.
        ends: rows ``(R, channels)`` at the layers behind the step.
    """

    bounds: Rows
    roundings: int
    around: Surroundings
    frequencies: Frequencies
    ends: Rows

    def rows(self, chosen: slice) -> Rows:
        """``(B, R, channels)`` for each layer read."""
        at, around = self.frequencies.at[chosen], self.around
        found = {
            end: np.broadcast_to(rows, (len(at), *rows.shape)).astype(np.complex128)
            for end, rows in self.ends.items()
        }

        def rule(layer: Layer, rows: Array) -> list[Array]:
            return _by_symbol(around, layer, rows, at)

        return _pulled(around.graph, around.on_torus, found, rule)


@dataclass(frozen=True, slots=True, eq=False)
class LeavingMaps:
    """Maps from a torus to units.

    Attributes:
        bounds: see :class:`Maps`.
        roundings: see :class:`Maps`.
        around: the step and its layers.
        frequencies: of the torus in front of the step.
        matrices: rows ``(R, *shape)`` at the layers in front of the step.
    """

    bounds: Rows
    roundings: int
    around: Surroundings
    frequencies: Frequencies
    matrices: Rows

    def rows(self, chosen: slice) -> Rows:
        """``(B, R, channels)`` for each layer read."""
        at, tori = self.frequencies.at[chosen], self.around.tori
        return {
            leaf: transformed(rows, tori[leaf].sizes, at)
            for leaf, rows in self.matrices.items()
        }


def dense_maps(around: Surroundings) -> DenseMaps:
    """The step's matrices, one row a unit that follows."""
    spent = sum(roundings(layer, around.shapes(layer)) for layer in around.members())
    matrices, bounds = (
        {leaf: rows.reshape(len(rows), -1) for leaf, rows in found.items()}
        for found in _unit_rows(around, around.step.members)
    )
    return DenseMaps(bounds, spent + FOLDING, matrices)


def channel_maps(around: Surroundings, frequencies: Frequencies) -> ChannelMaps:
    """The maps of a step behind which all layers stand on one torus: rows are channels.

    Args:
        around: in front of the step all layers stand on one torus too.
        frequencies: of the latter.
    """
    graph, after = around.graph, around.step.after
    ends = _identity(after, [graph.layers[position].shape[0] for position in after])
    bounds = _pulled(graph, around.on_torus, dict(ends), _loudest(around))
    return ChannelMaps(bounds, _spent_on_torus(around), around, frequencies, ends)


def leaving_maps(around: Surroundings, frequencies: Frequencies) -> LeavingMaps:
    """The maps of a step behind which every unit has a row; see :func:`channel_maps`.

    The net's own linear maps are taken back to what stands in front of the step, of
    which they read valid positions alone: what a torus holds elsewhere is not heard.
    """
    matrices, loud = _unit_rows(around, around.step.members)
    bounds = {
        leaf: rows.reshape(*rows.shape[:2], -1).sum(axis=2)
        / math.sqrt(math.prod(around.tori[leaf].sizes))
        for leaf, rows in loud.items()
    }
    positions = sum(math.prod(rows.shape[2:]) for rows in matrices.values())
    spent = _spent_on_torus(around) + 3 * positions + 4 * WAVES
    return LeavingMaps(bounds, spent, around, frequencies, matrices)


def _unit_rows(around: Surroundings, members: Sequence[int]) -> tuple[Rows, Rows]:
    """Rows ``(R, *shape)`` at the layers that ``members`` read, and their bounds."""
    graph, after = around.graph, around.step.after
    every = _identity(after, [graph.layers[position].size for position in after])
    shaped = {
        position: rows.reshape(len(rows), *graph.layers[position].shape)
        for position, rows in every.items()
    }

    def plain(layer: Layer, rows: Array) -> list[Array]:
        return pulled_back(layer, rows, around.shapes(layer))

    def loud(layer: Layer, rows: Array) -> list[Array]:
        return pulled_back(magnitude(layer), rows, around.shapes(layer))

    return (
        _pulled(graph, members, dict(shaped), plain),
        _pulled(graph, members, dict(shaped), loud),
    )


def _identity(layers: Sequence[int], widths: Sequence[int]) -> Rows:
    """For each layer its part of the identity: rows ``(R, width)``."""
    ends = np.cumsum([0, *widths])
    whole = np.eye(ends[-1])
    return {layer: whole[:, ends[i] : ends[i + 1]] for i, layer in enumerate(layers)}


def _pulled(graph: LayerGraph, members: Sequence[int], rows: Rows, rule: Rule) -> Rows:
    """Rows at layers in front of the members; ``rows`` is used up."""
    for member in reversed(members):
        if member not in rows:
            continue
        layer = graph.layers[member]
        parts = rule(layer, rows.pop(member))
        for source, part in zip(layer.inputs, parts, strict=True):
            rows[source] = rows[source] + part if source in rows else part
    return rows


def _by_symbol(
    around: Surroundings, layer: Layer, rows: Array, at: Array
) -> list[Array]:
    """The rule of a layer on a torus, at frequencies ``at``."""
    if isinstance(layer, Conv | AveragePool):
        sums = symbol(layer, around.tori[layer.inputs[0]].sizes, at)
        return [rows @ sums if sums.ndim > 1 else rows * sums[:, None, None]]
    return _by_channel(layer, rows, around.shapes(layer))


def _by_channel(layer: Layer, rows: Array, shapes: Sequence[Shape]) -> list[Array]:
    """The rule of a layer that does the same at each position."""
    match layer:
        case Affine():
            return [rows * channel_scale(layer)]
        case Add():
            return [rows, layer.weight * rows]
        case _:  # a concatenation of channels
            ends = np.cumsum([shape[0] for shape in shapes])[:-1]
            return np.split(rows, ends, axis=-1)


def _loudest(around: Surroundings) -> Rule:
    """The rule that bounds :func:`_by_symbol` at every frequency."""

    def rule(layer: Layer, rows: Array) -> list[Array]:
        if isinstance(layer, Conv | AveragePool):
            sums = symbol_bound(layer)
            return [rows @ sums if sums.ndim > 1 else rows * sums]
        return _by_channel(magnitude(layer), rows, around.shapes(layer))

    return rule


def _spent_on_torus(around: Surroundings) -> int:
    """Roundings, those of complex products and of waves included."""
    return FOLDING + sum(
        3 * roundings(layer, around.shapes(layer)) + 4 * WAVES
        for layer in around.members()
    )
