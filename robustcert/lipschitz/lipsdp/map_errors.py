"""How far a program's matrices may be from the maps they stand for.

A program's matrix is composed, in floating point, of a step's linear layers
``A_1, ..., A_r``, whose weights carry the roundings of folding. Each of its entries, or
of its Fourier coefficients, is a sum of products of weights; the computed sum differs
from the true one by at most ``gamma(K) |A_r| ... |A_1|`` entrywise, where K counts the
roundings on one path and ``|A|`` has absolute values in it (Higham, section 3.5). So a
norm of the difference is at most ``gamma(K)`` times the product of the *loudness* of
the layers: a bound on the norm of ``|A|``, and, on a torus, of ``sum_t |W[t]|``, which
lies entrywise above every Fourier coefficient.
"""

from __future__ import annotations

import math

import torch

from robustcert.graph.layers import (
    Add,
    Affine,
    AveragePool,
    Concat,
    Conv,
    Elementwise,
    Gather,
    Layer,
    LayerGraph,
    Linear,
)
from robustcert.lipschitz.lipsdp.frontier import Step, steps
from robustcert.lipschitz.magnitude import terms
from robustcert.lipschitz.matrix_norm import frobenius_bound
from robustcert.lipschitz.rounding import gamma, product_up, sum_up, up
from robustcert.results.norm import Norm

_PER_LAYER = 128
"""Roundings granted a layer besides its sum: folding, wave factors, scalings."""


def map_errors(graph: LayerGraph, norm: Norm) -> tuple[float, ...]:
    """Bound, for each step, on the operator norm of what rounding did to its maps.

    The input's step comes first. The bound is on the true scale, and of the map from
    all values alive in front of the step, and the step's source, each taken by itself:
    ``sum over leaves of |E_leaf|``.

    Args:
        graph: the one the program was made of (``compile.source_of``); with another
            one the errors would be those of other steps.
        norm: of both sides.
    """
    return tuple(_step_error(graph, step, norm) for step in steps(graph))


def _step_error(graph: LayerGraph, step: Step, norm: Norm) -> float:
    loud = dict.fromkeys(step.before, 1.0)
    loud[step.source] = _steepness(graph.layers[step.source])
    roundings = _PER_LAYER
    for member in step.members:
        layer = graph.layers[member]
        sources = [loud[i] for i in layer.inputs]
        loud[member] = _loudness_behind(layer, sources, norm)
        first = graph.layers[layer.inputs[0]].shape
        roundings += 2 * terms(layer, first) + _PER_LAYER
    total = 0.0
    for position in step.after:
        total = sum_up(total, loud[position])
    return product_up(gamma(4 * roundings), total)


def _steepness(source: Layer) -> float:
    """Room for slopes other than [0, 1], which are worked into the maps."""
    if not isinstance(source, Elementwise):
        return 1.0
    low, high = source.activation.slopes
    return max(1.0, 2.0 * (abs(low) + abs(high)))


def _loudness_behind(layer: Layer, sources: list[float], norm: Norm) -> float:
    match layer:
        case Add():
            return sum_up(sources[0], product_up(abs(layer.weight), sources[1]))
        case Concat():
            total = 0.0
            for source in sources:
                total = sum_up(total, source)
            return total
        case _:
            return product_up(_loudness(layer, norm), sources[0])


def _loudness(layer: Layer, norm: Norm) -> float:
    """Bound on the norm of the layer's matrix of absolute values, with room to spare.

    A dense layer that reads a torus is transformed position by position, which may
    cost the root of its number of columns.
    """
    match layer:
        case Linear():
            if norm is Norm.LINF:
                return up(2.0 * float(layer.weight.abs().sum(dim=1).max()))
            spread = 2.0 * math.sqrt(layer.weight.shape[1])
            return product_up(spread, frobenius_bound(layer.weight))
        case Conv():
            return _convolution(layer, norm)
        case Affine():
            return float(layer.scale.abs().max())
        case AveragePool():
            return float(torch.Size(layer.kernel).numel())
        case Gather():
            return up(2.0 * math.sqrt(layer.most_uses))
        case _:
            return 1.0


def _convolution(layer: Conv, norm: Norm) -> float:
    channels = layer.weight.abs().flatten(2).sum(dim=2)
    rows = float(channels.sum(dim=1).max())
    if norm is Norm.LINF:
        return up(2.0 * rows)
    grouped = channels.reshape(layer.groups, -1, channels.shape[1])
    return up(2.0 * math.sqrt(rows * float(grouped.sum(dim=1).max())))
