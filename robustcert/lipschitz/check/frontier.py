"""Where the layers of a frontier stand side by side, and the maps put together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robustcert.lipschitz.check.definite import Array
from robustcert.lipschitz.check.maps import Rows


@dataclass(frozen=True, slots=True)
class Activity:
    """The activation in front of a step's maps.

    Attributes:
        source: its position in the graph.
        reads: position of the layer it reads.
        low: smallest slope.
        high: largest slope.
    """

    source: int
    reads: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Frontier:
    """Layers side by side, each with its number of units."""

    layers: tuple[int, ...]
    widths: tuple[int, ...]

    @property
    def width(self) -> int:
        """Number of units in all."""
        return sum(self.widths)

    def units(self, layer: int) -> slice:
        """The layer's places."""
        index = self.layers.index(layer)
        first = sum(self.widths[:index])
        return slice(first, first + self.widths[index])


def carry_of(rows: Rows, frontier: Frontier, activity: Activity | None) -> Array | None:
    """C ``(..., R, N)``; ``None`` where nothing is carried on."""
    return _carried(rows, frontier, activity, 0.0 if activity is None else activity.low)


def carry_bound_of(
    bounds: Rows, frontier: Frontier, activity: Activity | None
) -> Array:
    """``(R, N)`` above the absolute values of C, from bounds of the rows."""
    slope = 0.0 if activity is None else abs(activity.low)
    whole = _carried(bounds, frontier, activity, slope)
    if whole is not None:
        return whole
    return np.zeros((len(next(iter(bounds.values()))), frontier.width))


def _carried(
    rows: Rows, frontier: Frontier, activity: Activity | None, slope: float
) -> Array | None:
    parts = {leaf: rows[leaf] for leaf in frontier.layers if leaf in rows}
    if not parts and slope == 0.0:
        return None
    some = next(iter(rows.values()))
    whole = np.zeros((*some.shape[:-1], frontier.width), dtype=some.dtype)
    for leaf, part in parts.items():
        whole[..., frontier.units(leaf)] = part
    if activity is not None and slope != 0.0 and activity.source in rows:
        whole[..., frontier.units(activity.reads)] += slope * rows[activity.source]
    return whole


def spread_of(rows: Rows, frontier: Frontier, activity: Activity | None) -> Array:
    """B ``(..., R, M)``; no columns without an activation or with a known slope.

    Given bounds of the rows instead, a bound of B.
    """
    some = next(iter(rows.values()))
    if activity is None or activity.low == activity.high:
        return np.zeros((*some.shape[:-1], 0), dtype=some.dtype)
    if activity.source not in rows:
        width = frontier.widths[frontier.layers.index(activity.reads)]
        return np.zeros((*some.shape[:-1], width), dtype=some.dtype)
    return (activity.high - activity.low) * rows[activity.source]


def places_of(frontier: Frontier, activity: Activity | None) -> Array:
    """``(M,)`` places of the activation's inputs whose slopes are not known."""
    if activity is None or activity.low == activity.high:
        return np.zeros(0, dtype=np.int64)
    units = frontier.units(activity.reads)
    return np.arange(units.start, units.stop)
