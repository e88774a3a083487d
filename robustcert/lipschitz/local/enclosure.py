"""What every activation of a graph gets to see while the input stays in a region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.layers import Elementwise, LayerGraph
from robustcert.lipschitz.local.intervals import Interval, image
from robustcert.lipschitz.local.region import Region
from robustcert.lipschitz.local.relaxation import Lines, lines_around
from robustcert.lipschitz.local.slopes import slopes_on
from robustcert.lipschitz.local.substitution import Known, unit_bounds

Enclosure = Mapping[str, Interval]
"""Bounds ``(1, *shape)`` of each activation's input, by the activation's name."""

Slopes = dict[str, tuple[Tensor, Tensor]]


def enclosure(graph: LayerGraph, region: Region, known: Enclosure) -> Enclosure:
    """Bounds of every activation's input over the region.

    Interval arithmetic everywhere; on top of it, backward substitution for every unit
    whose slope it leaves open. In front of the first activation that is exact.

    Args:
        graph: float64 on the CPU, its numbers finite.
        region: where the input lies.
        known: bounds that hold anyway; may be empty.
    """
    bounds: list[Interval] = [region.interval]
    lines: dict[int, Lines] = {}
    found: dict[str, Interval] = {}
    facts = Known(graph, region, bounds, lines)
    for position, layer in enumerate(graph.layers[1:], start=1):
        if isinstance(layer, Elementwise):
            (source,) = layer.inputs
            if layer.name in known:
                bounds[source] = bounds[source].meet(known[layer.name])
            bounds[source] = _tightened(facts, source, layer.activation)
            found[layer.name] = bounds[source]
            lines[position] = lines_around(layer.activation, bounds[source])
        bounds.append(image(layer, graph, [bounds[i] for i in layer.inputs]))
    return found


def slopes_within(graph: LayerGraph, enclosed: Enclosure) -> Slopes:
    """Smallest and largest slope ``(size,)`` of every activation's units."""
    found: Slopes = {}
    for layer in graph.layers:
        if isinstance(layer, Elementwise):
            seen = enclosed[layer.name]
            low, high = slopes_on(layer.activation, seen.low, seen.high)
            found[layer.name] = low.flatten(), high.flatten()
    return found


def _tightened(facts: Known, source: int, activation: Activation) -> Interval:
    before = facts.bounds[source]
    units = _open_units(activation, before)
    if source == 0 or len(units) == 0:
        return before
    better = unit_bounds(facts, source, units)
    low, high = before.low.flatten().clone(), before.high.flatten().clone()
    chosen = Interval(low[units], high[units]).meet(better)
    low[units], high[units] = chosen.low, chosen.high
    return replace(
        before, low=low.reshape(before.low.shape), high=high.reshape(before.low.shape)
    )


def _open_units(activation: Activation, seen: Interval) -> Tensor:
    """Flat positions of the units whose slope is not known from their interval."""
    low, high = slopes_on(activation, seen.low, seen.high)
    is_open = high > low
    if activation.kind is ActivationKind.HARDSIGMOID:
        is_open = high > low * 1.5  # 1/6 is no float: an ulp does not count
    return is_open.flatten().nonzero()[:, 0]
