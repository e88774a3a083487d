"""Programs of dense matrices: one multiplier for each unit."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.execute import apply_linear
from robustcert.graph.layers import Elementwise, LayerGraph, Linear, Reshape
from robustcert.lipschitz.lipsdp.assemble import assembled, balancing
from robustcert.lipschitz.lipsdp.frontier import Step, activation_of, steps
from robustcert.lipschitz.lipsdp.program import Program, Stage

LARGEST = 6144
"""Units alive at once, up to which matrices are written out."""

Slopes = Mapping[str, tuple[Tensor, Tensor]]
"""Smallest and largest slope of each unit, ``(size,)`` each, by activation layer."""


def dense_program(graph: LayerGraph, slopes: Slopes | None = None) -> Program:
    """The graph as dense matrices.

    Args:
        graph: folded, float64, without max pooling.
        slopes: narrower slopes than an activation has everywhere, as on a ball; layers
            left out have their global ones.

    Raises:
        UnsupportedLayerError: a layer has no slopes, or is too large to be written out.
    """
    known = slopes or {}
    first, *rest = steps(graph)
    _require_small(graph, first)
    maps = _maps(graph, first)[0][None, None]
    exponents, stages = [balancing(maps)], []
    start = maps * math.ldexp(1.0, exponents[0])
    for step in rest:
        stage, exponent = dense_stage(graph, step, known)
        stages.append(stage)
        exponents.append(exponents[-1] + exponent)
    return Program(start, tuple(stages), tuple(exponents), {})


def unit_slopes(layer: Elementwise, slopes: Slopes) -> tuple[Tensor, Tensor]:
    """Smallest and largest slope of each unit of the layer, ``(size,)`` each."""
    if layer.name in slopes:
        low, high = slopes[layer.name]
        return low.flatten(), high.flatten()
    low_slope, high_slope = layer.activation.slopes
    ones = torch.ones(layer.size, dtype=torch.float64)
    return low_slope * ones, high_slope * ones


def dense_stage(graph: LayerGraph, step: Step, slopes: Slopes) -> tuple[Stage, int]:
    """One activation's stage, and the exponent that its maps were scaled by.

    Raises:
        UnsupportedLayerError: too many units are alive at once.
    """
    _require_small(graph, step)
    layer = activation_of(graph, step)
    parts = {leaf: m[None, None] for leaf, m in _maps(graph, step).items()}
    widths = {i: graph.layers[i].size for i in (*step.before, step.source)}
    return assembled(layer, step, parts, widths, unit_slopes(layer, slopes))


def _maps(graph: LayerGraph, step: Step) -> dict[int, Tensor]:
    """The linear maps behind the step, by the layer they read: ``(n', size)`` each."""
    written = _single_matrix(graph, step)
    if written is not None:
        return {step.source: written}
    read = {source for m in step.members for source in graph.layers[m].inputs}
    read |= set(step.after)
    leaves = sorted(read & {*step.before, step.source})
    return {leaf: _columns(graph, step, leaf, leaves).T for leaf in leaves}


def _single_matrix(graph: LayerGraph, step: Step) -> Tensor | None:
    """The weights, where the step is one dense layer and vectors put in shape."""
    members = [graph.layers[member] for member in step.members]
    dense = [layer for layer in members if not isinstance(layer, Reshape)]
    alone = len(dense) == 1 and step.after == step.members[-1:]
    reads_source = {i for m in members for i in m.inputs} <= {
        step.source,
        *step.members,
    }
    if not (alone and reads_source and isinstance(dense[0], Linear)):
        return None
    return dense[0].weight if len(dense[0].shape) == 1 else None


def _columns(graph: LayerGraph, step: Step, leaf: int, leaves: list[int]) -> Tensor:
    """The next frontier ``(size, n')`` for each unit vector of ``leaf``."""
    size = graph.layers[leaf].size
    values = {
        position: torch.zeros(size, *graph.layers[position].shape, dtype=torch.float64)
        for position in leaves
    }
    values[leaf] = torch.eye(size, dtype=torch.float64).reshape(
        size, *graph.layers[leaf].shape
    )
    for member in step.members:
        layer = graph.layers[member]
        values[member] = apply_linear(layer, [values[i] for i in layer.inputs])
    return torch.cat([values[position].flatten(1) for position in step.after], dim=1)


def _width(graph: LayerGraph, alive: tuple[int, ...]) -> int:
    return sum(graph.layers[position].size for position in alive)


def _require_small(graph: LayerGraph, step: Step) -> None:
    layer = graph.layers[step.source]
    units = max(_width(graph, step.after), layer.size)
    if units > LARGEST:
        raise UnsupportedLayerError(
            layer.name, f"{units} units at once are too many for dense matrices"
        )
