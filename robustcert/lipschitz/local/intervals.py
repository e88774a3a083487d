"""Interval arithmetic through the layers, every end rounded outwards."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.execute import apply, apply_linear
from robustcert.graph.layers import (
    LINEAR_KINDS,
    Elementwise,
    Gather,
    Layer,
    LayerGraph,
    Permute,
    Reshape,
)
from robustcert.lipschitz.magnitude import magnitude, terms
from robustcert.lipschitz.rounding import UNIT, gamma

_FUNCTION_ULPS = 16.0  # units in the last place an activation function may be off by
_SOFTPLUS_CUT = 2.1e-9  # torch takes softplus(x) = x above 20 / beta
_EXACT = (ActivationKind.RELU, ActivationKind.CLAMP)


@dataclass(frozen=True, slots=True, eq=False)
class Interval:
    """Elementwise bounds ``(1, *shape)``: ``low <= x <= high``."""

    low: Tensor
    high: Tensor

    def widened(self, by: Tensor | float = 0.0) -> Interval:
        """Both ends moved out by ``by`` and then by one float more."""
        low, high = self.low - by, self.high + by
        infinity = torch.full_like(low, torch.inf)
        return Interval(
            torch.nextafter(low, -infinity), torch.nextafter(high, infinity)
        )

    def meet(self, other: Interval) -> Interval:
        """What both intervals hold; NaN counts as no bound."""
        return Interval(
            torch.fmax(self.low, other.low), torch.fmin(self.high, other.high)
        )

    @property
    def size(self) -> Tensor:
        """Largest absolute value of each coordinate."""
        return torch.maximum(self.low.abs(), self.high.abs())


def propagated(graph: LayerGraph, inputs: Interval) -> list[Interval]:
    """Bounds of every layer's output, in the graph's order.

    For an interval of one point this is a running error analysis of the forward pass.

    Args:
        graph: float64.
        inputs: ``(1, *shape)``.
    """
    found = [inputs]
    for layer in graph.layers[1:]:
        found.append(image(layer, graph, [found[source] for source in layer.inputs]))
    return found


def image(layer: Layer, graph: LayerGraph, sources: list[Interval]) -> Interval:
    """Bounds of the layer's output for bounds of its inputs.

    Raises:
        UnsupportedLayerError: the layer cannot be executed.
    """
    if isinstance(layer, Elementwise):
        return activation_range(layer.activation, sources[0])
    moves = isinstance(layer, Reshape | Permute | Gather)
    if moves or not isinstance(layer, LINEAR_KINDS):
        low = apply(
            layer, [source.low for source in sources]
        )  # no coordinate is changed
        return Interval(low, apply(layer, [source.high for source in sources]))
    count = terms(layer, graph.layers[layer.inputs[0]].shape)
    middles = [source.low / 2.0 + source.high / 2.0 for source in sources]
    radii = [
        torch.maximum(source.high - middle, middle - source.low) * (1.0 + 4.0 * UNIT)
        for source, middle in zip(sources, middles, strict=True)
    ]
    whole = magnitude(layer)
    sizes = apply(whole, [source.size for source in sources])
    reach = apply_linear(whole, radii) + gamma(count + 4) * sizes
    middle = apply(layer, middles)
    found = Interval(middle, middle).widened(reach * (1.0 + gamma(2 * count + 16)))
    nothing = torch.full_like(middle, torch.inf)
    return Interval(-nothing, nothing).meet(found)


def activation_range(activation: Activation, source: Interval) -> Interval:
    """Bounds of the activation over the interval."""
    ends = point_values(activation, source.low), point_values(activation, source.high)
    low = torch.minimum(ends[0].low, ends[1].low)
    high = torch.maximum(ends[0].high, ends[1].high)
    for turn in activation.turns:
        inside = (source.low <= turn) & (source.high >= turn)
        there = point_values(activation, torch.full_like(low, turn))
        low = torch.where(inside, torch.minimum(low, there.low), low)
        high = torch.where(inside, torch.maximum(high, there.high), high)
    return Interval(low, high)


def point_values(activation: Activation, points: Tensor) -> Interval:
    """Bounds of the activation at single points, past the rounding of its function."""
    values = activation(points)
    if activation.kind in _EXACT:
        return Interval(values, values)
    margin = _FUNCTION_ULPS * UNIT * activation.sizes(points, values)
    if activation.kind is ActivationKind.SOFTPLUS:
        margin = margin + _SOFTPLUS_CUT / abs(activation.parameters[0])
    return Interval(values, values).widened(margin)
