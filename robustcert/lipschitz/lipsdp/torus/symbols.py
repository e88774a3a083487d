"""Linear layers in Fourier: a matrix a frequency.

With the unitary Fourier transform, ``y[o] = sum_t W[t] x[s o + t]`` on a torus reads
``y^(g) = |s|^(-1/2) sum_f W^(f) x^(f)``, the sum running over the frequencies f that
alias to g, and ``W^(f) = sum_t W[t] exp(2 pi i f.t / N)``. Every f aliases to one g
only, so several layers after one another are a product of matrices at each fine f.

Reference:
    Sedghi, Gupta, Long. The Singular Values of Convolutional Layers. ICLR 2019.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustcert.graph.layers import Add, Affine, Concat, Conv, Layer, LayerGraph, Shape
from robustcert.lipschitz.lipsdp.frontier import Step
from robustcert.lipschitz.lipsdp.torus.layout import Layout
from robustcert.lipschitz.lipsdp.torus.windows import as_convolution, taps_in_order

Parts = dict[int, Tensor]
"""A layer as a linear map of others, by their positions: ``(F, c, c')``, or F = 1."""


def step_symbols(graph: LayerGraph, layout: Layout, number: int) -> Parts:
    """The frontier behind a step, by each layer that is read.

    Returns:
        ``(F', A, n', c)`` for each such layer of c channels.
    """
    step = layout.steps[number]
    blocks = len(layout.frequencies[number + 1])
    known = _leaves(graph, step)
    for member in step.members:
        layer = graph.layers[member]
        known[member] = _behind(graph, layout, number, layer, known)
    frontier = _stacked(graph, step.after, known)
    count = len(layout.frequencies[number])
    return {
        leaf: part.expand(count, -1, -1).reshape(blocks, -1, *part.shape[1:])
        for leaf, part in frontier.items()
    }


def _leaves(graph: LayerGraph, step: Step) -> dict[int, Parts]:
    return {
        leaf: {
            leaf: torch.eye(graph.layers[leaf].shape[0], dtype=torch.complex128)[None]
        }
        for leaf in (*step.before, step.source)
    }


def _behind(
    graph: LayerGraph,
    layout: Layout,
    number: int,
    layer: Layer,
    known: dict[int, Parts],
) -> Parts:
    """The layer's parts from those of its inputs; ``places`` admits no others."""
    first = known[layer.inputs[0]]
    match layer:
        case Affine():
            scale = layer.scale.expand(layer.shape).flatten(1)[:, :1]
            return {leaf: scale * part for leaf, part in first.items()}
        case Add():
            return _sum(first, known[layer.inputs[1]], layer.weight)
        case Concat():
            return _stacked(graph, layer.inputs, known)
    source = layer.inputs[0]
    convolution = as_convolution(layer, graph.layers[source].shape)
    assert convolution is not None  # noqa: S101  (places lets no other through)
    symbol = _symbol(convolution, layout.sizes[source], layout.frequencies[number])
    if source in first:  # it is read as it is
        return {source: symbol}
    return {leaf: symbol @ part for leaf, part in first.items()}


def _sum(first: Parts, second: Parts, weight: float) -> Parts:
    total = dict(first)
    for leaf, part in second.items():
        total[leaf] = total[leaf] + weight * part if leaf in total else weight * part
    return total


def _stacked(
    graph: LayerGraph, layers: tuple[int, ...], known: dict[int, Parts]
) -> Parts:
    """Channels of the layers one after the other."""
    leaves = sorted({leaf for position in layers for leaf in known[position]})
    return {
        leaf: _column(
            [known[position].get(leaf) for position in layers],
            [graph.layers[position].shape[0] for position in layers],
        )
        for leaf in leaves
    }


def _column(parts: list[Tensor | None], rows: list[int]) -> Tensor:
    present = [part for part in parts if part is not None]
    count = max(len(part) for part in present)
    width = present[0].shape[2]
    return torch.cat(
        [
            present[0].new_zeros(count, height, width)
            if part is None
            else part.expand(count, -1, -1)
            for part, height in zip(parts, rows, strict=True)
        ],
        dim=1,
    )


def _symbol(layer: Conv, sizes: Shape, frequencies: Tensor) -> Tensor:
    """``(F, out, in)`` at ``frequencies`` ``(F, D)`` of a torus or one over it."""
    kernel = _ungrouped(layer).flatten(2).permute(2, 0, 1)
    turns = torch.zeros(len(frequencies), len(kernel), dtype=torch.float64)
    offsets = torch.tensor(taps_in_order(layer))
    for dim, size in enumerate(sizes):
        steps = (frequencies[:, dim, None] * offsets[:, dim]) % size
        turns += steps.to(torch.float64) / size
    angles = 2.0 * math.pi * turns
    waves = torch.polar(torch.ones_like(angles), angles)
    flat = kernel.flatten(1) / math.sqrt(math.prod(layer.stride))
    sums = torch.complex(waves.real @ flat, waves.imag @ flat)
    return sums.reshape(len(sums), *kernel.shape[1:])


def _ungrouped(layer: Conv) -> Tensor:
    """The weights ``(out, in, *kernel)``, zero between different groups."""
    if layer.groups == 1:
        return layer.weight
    outputs, inputs = layer.weight.shape[:2]
    whole = layer.weight.new_zeros(
        outputs, layer.groups, inputs, *layer.weight.shape[2:]
    )
    group = torch.arange(outputs) // (outputs // layer.groups)
    whole[torch.arange(outputs), group] = layer.weight
    return whole.flatten(1, 2)
