"""What each layer does to an interval; every result is rounded outwards.

A weighted sum of n terms in float64 is off by at most (n + 4) units of the sum of
magnitudes (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1); that
much is added to the radius.
"""

from __future__ import annotations

from collections.abc import Callable
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
    Gather,
    Layer,
    Linear,
    MaxPool,
    Mean,
    Permute,
    Reshape,
)

UNIT = torch.finfo(torch.float64).eps


@dataclass(frozen=True, slots=True, eq=False)
class Interval:
    """Elementwise bounds ``(N, *shape)``, as centre and radius."""

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


def propagate(layer: Layer, sources: list[Interval]) -> Interval:
    """Bounds of the layer's output for bounds of its inputs.

    Raises:
        UnsupportedLayerError: the layer has no interval rule.
    """
    rule = RULES.get(type(layer))
    if rule is None:
        raise UnsupportedLayerError(layer.name, f"{layer.kind} has no interval rule")
    return rule(layer, sources)


def between(low: Tensor, high: Tensor) -> Interval:
    """The interval from ``low`` to ``high``, rounded outwards."""
    return widened((low + high) / 2.0, (high - low) / 2.0)


def widened(centre: Tensor, radius: Tensor) -> Interval:
    """An interval with its radius rounded up past the rounding of both its numbers."""
    return Interval(centre, radius + 8.0 * UNIT * (centre.abs() + radius))


def ball_range(layer: Linear | Conv, centre: Tensor, radii: Tensor) -> Interval:
    """Range of a weighted sum over l2 balls: centre +- radius * norm of each row.

    Args:
        layer: reads the balls directly.
        centre: ``(N, *shape)`` the layer's inputs.
        radii: ``(N, 1, ...)`` that broadcasts over the layer's output.
    """
    squares = replace(layer, weight=layer.weight.square())
    row_norms = apply_linear(squares, [torch.ones_like(centre[:1])]).sqrt()
    noise = apply_linear(_absolute(layer), [centre.abs()]) * _terms(layer) * UNIT
    spread = radii * row_norms * (1.0 + _terms(layer) * UNIT)
    return widened(apply(layer, [centre]), spread + noise)


def intersection(first: Interval, second: Interval) -> Interval:
    """What both intervals hold."""
    low = torch.maximum(first.low, second.low)
    return between(low, torch.maximum(torch.minimum(first.high, second.high), low))


def row_range(rows: Tensor, shift: Tensor | float, source: Interval) -> Interval:
    """Range of ``rows[n] @ x[n] + shift[n]``: rows ``(N, K, D)``, x ``(N, D)``."""
    terms = rows.shape[2] + 4
    grown = source.radius + terms * UNIT * (source.centre.abs() + source.radius)
    centre = torch.einsum("nki,ni->nk", rows, source.centre) + shift
    spread = torch.einsum("nki,ni->nk", rows.abs(), grown)
    return widened(centre, spread * (1.0 + terms * UNIT))


def _terms(layer: Linear | Conv) -> int:
    return layer.weight[0].numel() + 4


def _absolute(layer: Linear | Conv) -> Linear | Conv:
    return replace(layer, weight=layer.weight.abs())


def _weighted(layer: Linear | Conv, sources: list[Interval]) -> Interval:
    source, noise = sources[0], _terms(layer) * UNIT
    grown = source.radius + noise * (source.centre.abs() + source.radius)
    radius = apply_linear(_absolute(layer), [grown]) * (1.0 + noise)
    return widened(apply(layer, [source.centre]), radius)


def _affine(layer: Affine, sources: list[Interval]) -> Interval:
    radius = sources[0].radius * layer.scale.abs()
    noise = 4.0 * UNIT * (sources[0].centre * layer.scale).abs()
    return widened(apply(layer, [sources[0].centre]), radius + noise)


def _average(layer: AveragePool | Mean, sources: list[Interval]) -> Interval:
    terms = 4.0 + max(1, sources[0].centre[0].numel() // max(1, layer.size))
    noise = terms * UNIT * apply(layer, [sources[0].centre.abs()])
    radius = apply(layer, [sources[0].radius]) * (1.0 + terms * UNIT)
    return widened(apply(layer, [sources[0].centre]), radius + noise)


def _monotone(layer: MaxPool, sources: list[Interval]) -> Interval:
    return between(apply(layer, [sources[0].low]), apply(layer, [sources[0].high]))


def _elementwise(layer: Elementwise, sources: list[Interval]) -> Interval:
    source = sources[0]
    ends = [layer.activation(source.low), layer.activation(source.high)]
    low, high = torch.minimum(*ends), torch.maximum(*ends)
    for turn in layer.activation.turns:
        inside = (source.low <= turn) & (source.high >= turn)
        there = layer.activation(torch.full_like(low, turn))
        low = torch.where(inside, torch.minimum(low, there), low)
        high = torch.where(inside, torch.maximum(high, there), high)
    result = between(low, high)
    sizes = layer.activation.sizes(
        source.low.abs().maximum(source.high), low.abs().maximum(high)
    )
    return widened(result.centre, result.radius + 8.0 * UNIT * sizes)


def _moved(layer: Reshape | Permute | Gather, sources: list[Interval]) -> Interval:
    return Interval(
        apply(layer, [sources[0].centre]), apply(layer, [sources[0].radius])
    )


def _add(layer: Add, sources: list[Interval]) -> Interval:
    centre = sources[0].centre + layer.weight * sources[1].centre
    radius = sources[0].radius + abs(layer.weight) * sources[1].radius
    noise = 4.0 * UNIT * (sources[0].centre.abs() + centre.abs())
    return widened(centre, radius + noise)


def _concat(layer: Concat, sources: list[Interval]) -> Interval:
    return Interval(
        apply(layer, [source.centre for source in sources]),
        apply(layer, [source.radius for source in sources]),
    )


RULES: dict[type[Layer], Callable[[Any, list[Interval]], Interval]] = {
    Linear: _weighted,
    Conv: _weighted,
    Affine: _affine,
    AveragePool: _average,
    Mean: _average,
    MaxPool: _monotone,
    Elementwise: _elementwise,
    Reshape: _moved,
    Permute: _moved,
    Gather: _moved,
    Add: _add,
    Concat: _concat,
}
