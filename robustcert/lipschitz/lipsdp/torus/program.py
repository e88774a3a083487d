"""Programs for convolutional nets, never unrolled: one multiplier a channel.

On a torus a convolution is circular, and with one multiplier for all positions of a
channel everything is block-diagonal in frequency. The real net, zero padding included,
is part of the circular one (``places`` and ``layout`` say why), so a bound
of the latter holds for the former.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.layers import Elementwise, LayerGraph
from robustcert.lipschitz.lipsdp.assemble import assembled, balancing
from robustcert.lipschitz.lipsdp.dense import dense_program, dense_stage
from robustcert.lipschitz.lipsdp.frontier import Step, activation_of, steps
from robustcert.lipschitz.lipsdp.program import Program, Stage, Unfolding
from robustcert.lipschitz.lipsdp.torus.exit import exit_symbols
from robustcert.lipschitz.lipsdp.torus.layout import Layout, layout_of
from robustcert.lipschitz.lipsdp.torus.places import places
from robustcert.lipschitz.lipsdp.torus.symbols import step_symbols

Scaled = tuple[Stage, int]
"""A stage and the exponent that its maps were scaled by."""


def torus_program(graph: LayerGraph) -> Program:
    """The graph on tori as far as it goes, then as dense matrices.

    Args:
        graph: folded, float64, without max pooling; where a linear layer pads another
            linear layer's output, with a mask (``masks.with_masks``), or the torus is
            left in front of it.

    Raises:
        UnsupportedLayerError: no activation stands on a torus, values on different
            grids are alive at once, or the maps would be too large.
    """
    walk = steps(graph)
    count = _steps_on_torus(graph, walk)
    layout = layout_of(graph, walk[:count])
    start, exponent = _start(graph, layout)
    scaled = [_torus_stage(graph, layout, number) for number in range(1, count)]
    scaled.append(_exit_stage(graph, layout, walk[count]))
    scaled += [dense_stage(graph, step, {}) for step in walk[count + 1 :]]
    return _program(start, exponent, scaled, _tori(graph, layout, walk[count]))


def hybrid_program(graph: LayerGraph, layer: str) -> Program:
    """On tori in front of the activation ``layer``; from there on, dense.

    From ``layer`` on every unit has a multiplier of its own. With the channels'
    multipliers repeated the bound is no larger than that of :func:`torus_program`.

    Args:
        graph: as for :func:`torus_program`.
        layer: name of an activation whose input stands on a torus.

    Raises:
        UnsupportedLayerError: as in :func:`torus_program`; or the values alive in front
            of the layer are not all on one torus with the same valid positions.
    """
    walk = steps(graph)
    count = _number_of(graph, walk, layer)
    if count == 1:
        return dense_program(graph)
    _require_one_shape(graph, walk[count])
    layout = layout_of(graph, walk[:count])
    start, exponent = _start(graph, layout)
    scaled = [_torus_stage(graph, layout, number) for number in range(1, count)]
    unfolding = _unfolding(graph, layout)
    scaled[-1] = replace(scaled[-1][0], unfolding=unfolding), scaled[-1][1]
    scaled += [dense_stage(graph, step, {}) for step in walk[count:]]
    return _program(start, exponent, scaled, _tori(graph, layout))


def _steps_on_torus(graph: LayerGraph, walk: Sequence[Step]) -> int:
    """Number of steps, the input's included, behind which all values are on tori."""
    known = places(graph)
    for number, step in enumerate(walk):
        outside = [position for position in step.after if position not in known]
        if not outside:
            continue
        name = graph.layers[outside[0]].name
        if number == 0:
            raise UnsupportedLayerError(name, "no activation in front is on a torus")
        if len(outside) < len(step.after):
            inside = next(i for i in step.after if i in known)
            other = graph.layers[inside].name
            raise UnsupportedLayerError(
                name, f"it leaves the torus while {other!r} is still there"
            )
        return number
    raise ValueError("the outputs of a graph are not on a torus")


def _number_of(graph: LayerGraph, walk: Sequence[Step], layer: str) -> int:
    """The number of the layer's step, the values in front being on tori."""
    known = places(graph)
    for number, step in enumerate(walk):
        if graph.layers[step.source].name == layer and number:
            if all(position in known for position in step.before):
                return number
            break
    raise UnsupportedLayerError(layer, "its input is not on a torus")


def _require_one_shape(graph: LayerGraph, step: Step) -> None:
    shape = graph.layers[step.before[0]].shape
    for position in step.before:
        layer = graph.layers[position]
        if layer.shape[1:] != shape[1:]:
            raise UnsupportedLayerError(
                layer.name, "its valid positions differ from those of other values"
            )


def _start(graph: LayerGraph, layout: Layout) -> tuple[Tensor, int]:
    maps = step_symbols(graph, layout, 0)[0]
    exponent = balancing(maps)
    return maps * math.ldexp(1.0, exponent), exponent


def _torus_stage(graph: LayerGraph, layout: Layout, number: int) -> Scaled:
    parts = step_symbols(graph, layout, number)
    return _assembled(graph, layout.steps[number], parts)


def _exit_stage(graph: LayerGraph, layout: Layout, step: Step) -> Scaled:
    sizes = layout.sizes[step.before[0]]
    parts = exit_symbols(graph, step, sizes, layout.frequencies[-1], layout.weights)
    stage, exponent = _assembled(graph, step, parts)
    return replace(stage, leaves_torus=True), exponent


def _assembled(graph: LayerGraph, step: Step, parts: dict[int, Tensor]) -> Scaled:
    layer = activation_of(graph, step)
    widths = {i: graph.layers[i].shape[0] for i in (*step.before, step.source)}
    return assembled(layer, step, parts, widths, _channel_slopes(layer))


def _channel_slopes(layer: Elementwise) -> tuple[Tensor, Tensor]:
    """The activation's slopes and 0, the slope off the valid positions."""
    low, high = layer.activation.slopes
    ones = torch.ones(layer.shape[0], dtype=torch.float64)
    return min(low, 0.0) * ones, max(high, 0.0) * ones


def _unfolding(graph: LayerGraph, layout: Layout) -> Unfolding:
    position = layout.steps[-1].after[0]
    return Unfolding(
        layout.sizes[position],
        graph.layers[position].shape[1:],
        layout.frequencies[-1],
        layout.weights,
    )


def _tori(
    graph: LayerGraph, layout: Layout, *further: Step
) -> dict[str, tuple[int, ...]]:
    """Sizes of the torus of each activation that has one multiplier a channel."""
    sources = [step.source for step in (*layout.steps[1:], *further)]
    return {
        graph.layers[i].name: layout.sizes[graph.layers[i].inputs[0]] for i in sources
    }


def _program(
    start: Tensor, exponent: int, scaled: list[Scaled], tori: dict[str, tuple[int, ...]]
) -> Program:
    exponents = [exponent]
    for _, scaling in scaled:
        exponents.append(exponents[-1] + scaling)
    return Program(start, tuple(stage for stage, _ in scaled), tuple(exponents), tori)
