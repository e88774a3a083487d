"""The steepest slope of a function of one variable, between two proved numbers.

On an interval the Lipschitz constant of a differentiable function of one variable is
its largest absolute derivative. The derivative is enclosed piece by piece in interval
arithmetic, every end rounded outwards, and the pieces that may hold the largest one
are halved until both sides agree.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.execute import apply
from robustcert.graph.layers import Elementwise, Input, Layer, LayerGraph, Linear
from robustcert.lipschitz.local.intervals import Interval, image
from robustcert.lipschitz.local.slopes import slopes_on

GAP = 0.01
"""Relative; together with FLOOR, what the search leaves between the sides."""

FLOOR = 1e-3
PIECES = 256
HALVINGS = 24
BUDGET = 12_000
"""Pieces in all, whatever the function; then the search ends where it stands. A nearly
constant function on long weights needs many, since its slopes cancel."""

_CHUNK = 2048


@dataclass(frozen=True, slots=True)
class SlopeBracket:
    """The Lipschitz constant of a function on an interval lies in [lower, upper].

    Attributes:
        lower: attained at ``at``.
        upper: exceeded nowhere.
        at: an input.
    """

    lower: float
    upper: float
    at: float


@dataclass(frozen=True, slots=True, eq=False)
class _Pieces:
    """P intervals: ``(P, 1)`` ends, and ``(P,)`` bounds of the slope in each."""

    low: Tensor
    high: Tensor

    def __len__(self) -> int:
        return len(self.low)

    @property
    def middles(self) -> Tensor:
        return self.low + (self.high - self.low) / 2.0

    def chosen(self, rows: Tensor) -> _Pieces:
        return _Pieces(self.low[rows], self.high[rows])

    def halved(self) -> _Pieces:
        middles = self.middles
        return _Pieces(torch.cat([self.low, middles]), torch.cat([middles, self.high]))


def slope_bracket(graph: LayerGraph, low: float, high: float) -> SlopeBracket:
    """Both sides of the Lipschitz constant on an interval.

    Args:
        graph: from one number to one number, in linear layers and activations.
        low: left end of the interval.
        high: right end.

    Returns:
        Sides that differ by 1 % and 1e-3, more where the search ends before.

    Raises:
        UnsupportedLayerError: the graph has another layer, or is no such function.
    """
    _check(graph)
    wide = graph.to(torch.float64, torch.device("cpu"))
    ends = torch.linspace(low, high, PIECES + 1, dtype=torch.float64)[:, None]
    ends[0], ends[-1] = low, high
    with torch.no_grad():
        return _searched(wide, _Pieces(ends[:-1], ends[1:]))


def _searched(graph: LayerGraph, pieces: _Pieces) -> SlopeBracket:
    """Halve what may hold the steepest slope until both sides agree."""
    lower, settled, at = 0.0, 0.0, float(pieces.low[0])
    seen = 0
    for _ in range(HALVINGS):
        seen += len(pieces)
        uppers = _largest(_slopes(graph, pieces))
        slope, place = _steepest(graph, pieces.middles)
        if slope > lower:
            lower, at = slope, place
        hopeful = ~(uppers <= lower * (1.0 + GAP) + FLOOR)  # NaN is never settled
        settled = max(settled, _most(uppers[~hopeful]))
        pieces, uppers = pieces.chosen(hopeful), uppers[hopeful]
        if not 0 < 2 * len(pieces) <= BUDGET - seen:
            break
        pieces = pieces.halved()
    return SlopeBracket(lower, max(settled, _most(uppers)), at)


def _steepest(graph: LayerGraph, points: Tensor) -> tuple[float, float]:
    """Some absolute derivative at one of the points ``(P, 1)``, rounded down; where.

    The point is chosen by derivatives that are merely computed; only what is said of it
    is proved.
    """
    place = points[_derivatives(graph, points).abs().argmax()][None]
    slope = _slopes_at_once(graph, _same(place))
    least = torch.maximum(slope.low, -slope.high).clamp(min=0.0)
    return float(least), float(place)


def _derivatives(graph: LayerGraph, points: Tensor) -> Tensor:
    """``(P,)`` derivatives at points ``(P, 1)``, up to rounding."""
    values, slopes = points, torch.ones_like(points)
    for layer in graph.layers[1:]:
        if isinstance(layer, Elementwise):
            low, high = slopes_on(layer.activation, values, values)
            slopes = slopes * (low + high) / 2.0
        else:
            slopes = apply(_without_bias(layer), [slopes])
        values = apply(layer, [values])
    return slopes.flatten()


def _slopes(graph: LayerGraph, pieces: _Pieces) -> Interval:
    """Bounds ``(P, 1)`` of the derivative on each piece."""
    parts = [
        _slopes_at_once(graph, Interval(low, high))
        for low, high in zip(
            torch.split(pieces.low, _CHUNK),
            torch.split(pieces.high, _CHUNK),
            strict=True,
        )
    ]
    return Interval(
        torch.cat([part.low for part in parts]), torch.cat([p.high for p in parts])
    )


def _slopes_at_once(graph: LayerGraph, inputs: Interval) -> Interval:
    """Values and derivatives carried forward together, by the chain rule."""
    values, slopes = inputs, _same(torch.ones_like(inputs.low))
    for layer in graph.layers[1:]:
        if isinstance(layer, Elementwise):
            own = Interval(*slopes_on(layer.activation, values.low, values.high))
            slopes = _product(slopes, own)
        else:
            slopes = image(_without_bias(layer), graph, [slopes])
        values = image(layer, graph, [values])
    return slopes


def _without_bias(layer: Layer) -> Layer:
    return replace(layer, bias=None) if isinstance(layer, Linear) else layer


def _same(points: Tensor) -> Interval:
    return Interval(points, points)


def _product(left: Interval, right: Interval) -> Interval:
    """Products of one number of each side, rounded outwards."""
    ends = torch.stack(
        [
            left.low * right.low,
            left.low * right.high,
            left.high * right.low,
            left.high * right.high,
        ]
    )
    return Interval(ends.amin(dim=0), ends.amax(dim=0)).widened()


def _largest(slopes: Interval) -> Tensor:
    return slopes.size.flatten()


def _most(values: Tensor) -> float:
    """The largest; NaN bounds nothing, and none are 0."""
    return max(values.nan_to_num(nan=torch.inf, posinf=torch.inf).tolist(), default=0.0)


def _check(graph: LayerGraph) -> None:
    """Refuse what is no chain of known layers from one number to one number."""
    for place, layer in enumerate(graph.layers):
        if not isinstance(layer, Input | Linear | Elementwise):
            raise UnsupportedLayerError(layer.name, f"{layer.kind} has no slope rule")
        if layer.inputs not in ((), (place - 1,)):
            raise UnsupportedLayerError(layer.name, "it does not follow the one before")
    if graph.input_shape != (1,) or graph.outputs != 1:
        raise UnsupportedLayerError(
            graph.layers[-1].name, "the map is not from one number to one number"
        )
