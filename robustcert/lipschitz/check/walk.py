"""From frontier to frontier: which maps, which frequencies, which proof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from robustcert.errors import CertificateError
from robustcert.graph.layers import Elementwise, LayerGraph, Shape
from robustcert.lipschitz.check.covariance import (
    Covariance,
    rescaled,
    whole_input,
)
from robustcert.lipschitz.check.fourier import Frequencies, frequencies
from robustcert.lipschitz.check.frontier import (
    Activity,
    Frontier,
    carry_bound_of,
    places_of,
    spread_of,
)
from robustcert.lipschitz.check.journey import Journey, proved
from robustcert.lipschitz.check.maps import (
    Maps,
    channel_maps,
    dense_maps,
    leaving_maps,
)
from robustcert.lipschitz.check.passage import Move, passage
from robustcert.lipschitz.check.sums import (
    Gathering,
    all_of,
    alone,
    folded_into,
)
from robustcert.lipschitz.check.surroundings import Surroundings
from robustcert.lipschitz.check.tori import Torus
from robustcert.lipschitz.check.unfold import unfolded
from robustcert.lipschitz.lipsdp.frontier import Step
from robustcert.results.lipschitz_certificate import LayerMultipliers


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where the walk stands: in front of a step.

    Attributes:
        frontier: the layers there.
        covariance: of their values.
        frequencies: of the torus that all of them stand on; ``None`` where every unit
            stands by itself.
    """

    frontier: Frontier
    covariance: Covariance
    frequencies: Frequencies | None


def last_covariance(
    graph: LayerGraph,
    walk: Sequence[Step],
    tori: Mapping[int, Torus],
    multipliers: Mapping[int, LayerMultipliers],
) -> Covariance:
    """The covariance of the outputs.

    Args:
        graph: without max pooling.
        walk: the order of the layers.
        tori: of the layers that stand on one.
        multipliers: of each activation, by its position.

    Raises:
        CertificateError: some multipliers do not fit, or prove nothing.
    """
    sizes = _tori_behind(walk, tori)
    coarsest = _coarsest(sizes)
    place = _input(graph, tori, coarsest)
    for step, torus in zip(walk, sizes, strict=True):
        own = multipliers.get(step.source)
        if own is not None:
            place = _as_claimed(graph, place, own)
        around = Surroundings(graph, step, tori)
        place = _behind(place, around, own, torus, coarsest)
    return place.covariance


def _tori_behind(walk: Sequence[Step], tori: Mapping[int, Torus]) -> list[Shape | None]:
    """Sizes of the torus behind each step; ``None`` once they have none in common."""
    sizes: list[Shape | None] = []
    for step in walk:
        common = {tori[i].sizes if i in tori else None for i in step.after}
        left = bool(sizes) and sizes[-1] is None
        sizes.append(None if left or len(common) != 1 else common.pop())
    return sizes


def _coarsest(sizes: Sequence[Shape | None]) -> Shape | None:
    return next((torus for torus in reversed(sizes) if torus is not None), None)


def _input(
    graph: LayerGraph, tori: Mapping[int, Torus], coarsest: Shape | None
) -> Place:
    shape = graph.input_shape
    if coarsest is None:
        size = graph.layers[0].size
        return Place(Frontier((0,), (size,)), whole_input(size, 1, np.float64), None)
    held = frequencies(tori[0].sizes, coarsest)
    covariance = whole_input(shape[0], len(held), np.complex128)
    return Place(Frontier((0,), (shape[0],)), covariance, held)


def _as_claimed(graph: LayerGraph, place: Place, own: LayerMultipliers) -> Place:
    """The place with its units by themselves, if the activation has a multiplier each.

    Raises:
        CertificateError: the activation should stand on a torus that is left already.
    """
    if own.torus is not None and place.frequencies is None:
        raise CertificateError(
            f"layer {own.layer!r} is on no torus, as one in front of it is on none"
        )
    if own.torus is not None or place.frequencies is None:
        return place
    layers = place.frontier.layers
    shapes = [graph.layers[layer].shape for layer in layers]
    widths = tuple(graph.layers[layer].size for layer in layers)
    covariance = unfolded(place.covariance, place.frequencies, shapes)
    return Place(Frontier(layers, widths), covariance, None)


def _behind(
    place: Place,
    around: Surroundings,
    own: LayerMultipliers | None,
    torus: Shape | None,
    coarsest: Shape | None,
) -> Place:
    """The place behind a step.

    Raises:
        CertificateError: the multipliers do not fit, or nothing can be proved.
    """
    activity = _activity(around, place)
    maps, gathering, held = _leading(place, around, torus, coarsest)
    move = _move(maps, place.frontier, activity, own)
    journey = Journey(
        place.covariance,
        place.frontier,
        activity,
        maps,
        passage(move, place.covariance),
    )
    found = proved(journey, gathering)
    if found is None:
        name = around.graph.layers[around.step.source].name
        raise CertificateError(f"the multipliers of layer {name!r} prove nothing")
    to = journey.passage
    covariance = rescaled(Covariance(found, to.exponents, to.rows))
    return Place(_frontier_behind(around, held), covariance, held)


def _activity(around: Surroundings, place: Place) -> Activity | None:
    """The step's activation; on a torus its slopes are widened to contain 0."""
    source = around.step.source
    layer = around.graph.layers[source]
    if not isinstance(layer, Elementwise):
        return None
    low, high = layer.activation.slopes
    if place.frequencies is not None:
        low, high = min(low, 0.0), max(high, 0.0)
    return Activity(source, layer.inputs[0], low, high)


def _leading(
    place: Place, around: Surroundings, torus: Shape | None, coarsest: Shape | None
) -> tuple[Maps, Gathering, Frequencies | None]:
    """The step's maps, what they add up, and the frequencies behind them."""
    held = place.frequencies
    if held is None:
        return dense_maps(around), alone(), None
    if torus is None or coarsest is None:
        return leaving_maps(around, held), all_of(held), None
    coarse = frequencies(torus, coarsest)
    return channel_maps(around, held), folded_into(held, coarse), coarse


def _move(
    maps: Maps,
    frontier: Frontier,
    activity: Activity | None,
    own: LayerMultipliers | None,
) -> Move:
    """The step's bounds and multipliers.

    Raises:
        CertificateError: the number of multipliers is wrong.
    """
    acted = places_of(frontier, activity)
    values = np.array(() if own is None else own.values, dtype=np.float64)
    if own is not None and len(values) != len(acted):
        raise CertificateError(
            f"layer {own.layer!r} has {len(acted)} units, not {len(values)}"
        )
    carry = carry_bound_of(maps.bounds, frontier, activity)
    spread = spread_of(maps.bounds, frontier, activity)
    exponent = 0 if own is None else own.exponent
    return Move(carry, spread, acted, values, exponent, maps.roundings + 8)


def _frontier_behind(around: Surroundings, held: Frequencies | None) -> Frontier:
    layers = [around.graph.layers[position] for position in around.step.after]
    widths = (layer.size if held is None else layer.shape[0] for layer in layers)
    return Frontier(around.step.after, tuple(widths))
