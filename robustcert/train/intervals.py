"""Interval bounds that are differentiated by the weights.

They are not rounded outwards: a net is trained with them, and certified with those of
:mod:`robustcert.certify.interval`, which are.

Reference:
    Gowal et al. On the Effectiveness of Interval Bound Propagation for Training
        Verifiably Robust Models. 2018, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.execute import apply, apply_linear
from robustcert.graph.layers import (
    Add,
    Affine,
    AveragePool,
    Concat,
    Conv,
    Elementwise,
    Layer,
    LayerGraph,
    Linear,
    MaxPool,
    Mean,
    Permute,
    Reshape,
)
from robustcert.results.threat_model import Box


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """Elementwise bounds ``(N, *shape)``: ``centre`` plus and minus ``radius``."""

    centre: Tensor
    radius: Tensor

    @property
    def low(self) -> Tensor:
        """Lower bounds."""
        return self.centre - self.radius

    @property
    def high(self) -> Tensor:
        """Upper bounds."""
        return self.centre + self.radius


def input_span(inputs: Tensor, epsilon: float, box: Box) -> Span:
    """The L-infinity ball of radius ``epsilon`` around each input, inside the box."""
    return _between(
        (inputs - epsilon).clamp(box.low, box.high),
        (inputs + epsilon).clamp(box.low, box.high),
    )


def hidden_spans(graph: LayerGraph, start: Span) -> list[Span]:
    """Bounds of every layer but the last, in the graph's order.

    Raises:
        UnsupportedLayerError: a layer has no rule.
    """
    spans = [start]
    for layer in graph.layers[1:-1]:
        spans.append(_behind(layer, [spans[source] for source in layer.inputs]))
    return spans


def margin_floors(graph: LayerGraph, spans: Sequence[Span], labels: Tensor) -> Tensor:
    """Lower bounds ``(N, K)`` of ``f_y - f_k``; 0 at the label.

    A last linear layer is taken together with the differences, row by row.

    Args:
        graph: ends in K logits.
        spans: of its layers but the last.
        labels: ``(N,)``.

    Raises:
        UnsupportedLayerError: the last layer has no rule.
    """
    last = graph.layers[-1]
    sources = [spans[source] for source in last.inputs]
    if not isinstance(last, Linear):
        logits = _behind(last, sources)
        floors = logits.low.gather(1, labels[:, None]) - logits.high
        return floors.scatter(1, labels[:, None], 0.0)
    rows = last.weight[labels][:, None] - last.weight
    floors = torch.einsum("nki,ni->nk", rows, sources[0].centre)
    floors = floors - torch.einsum("nki,ni->nk", rows.abs(), sources[0].radius)
    if last.bias is None:
        return floors
    return floors + last.bias[labels][:, None] - last.bias


def _behind(layer: Layer, sources: Sequence[Span]) -> Span:
    rule = _RULES.get(type(layer))
    if rule is None:
        raise UnsupportedLayerError(layer.name, f"{layer.kind} has no interval rule")
    return rule(layer, sources)


def _between(low: Tensor, high: Tensor) -> Span:
    return Span((low + high) / 2.0, (high - low) / 2.0)


def _linear(magnitudes: Layer, layer: Layer, sources: Sequence[Span]) -> Span:
    """``magnitudes`` is the layer with the absolute values of its weights."""
    return Span(
        apply(layer, [source.centre for source in sources]),
        apply_linear(magnitudes, [source.radius for source in sources]),
    )


def _weighted(layer: Linear | Conv, sources: Sequence[Span]) -> Span:
    return _linear(replace(layer, weight=layer.weight.abs()), layer, sources)


def _scaled(layer: Affine, sources: Sequence[Span]) -> Span:
    return _linear(replace(layer, scale=layer.scale.abs()), layer, sources)


def _added(layer: Add, sources: Sequence[Span]) -> Span:
    return _linear(replace(layer, weight=abs(layer.weight)), layer, sources)


def _nonnegative(layer: Layer, sources: Sequence[Span]) -> Span:
    return _linear(layer, layer, sources)


def _monotone(layer: MaxPool, sources: Sequence[Span]) -> Span:
    return _between(apply(layer, [sources[0].low]), apply(layer, [sources[0].high]))


def _bent(layer: Elementwise, sources: Sequence[Span]) -> Span:
    low, high = sources[0].low, sources[0].high
    ends = layer.activation(low), layer.activation(high)
    turns = layer.activation.turns
    if not turns:
        return _between(*ends)
    lowest, highest = torch.minimum(*ends), torch.maximum(*ends)
    for turn in turns:
        inside = (low <= turn) & (high >= turn)
        there = layer.activation(torch.full_like(low, turn))
        lowest = torch.where(inside, torch.minimum(lowest, there), lowest)
        highest = torch.where(inside, torch.maximum(highest, there), highest)
    return _between(lowest, highest)


_RULES: dict[type[Layer], Callable[[Any, Sequence[Span]], Span]] = {
    Linear: _weighted,
    Conv: _weighted,
    Affine: _scaled,
    Add: _added,
    AveragePool: _nonnegative,
    Mean: _nonnegative,
    Reshape: _nonnegative,
    Permute: _nonnegative,
    Concat: _nonnegative,
    MaxPool: _monotone,
    Elementwise: _bent,
}
