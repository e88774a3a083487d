"""How large each layer's torus is, and which frequencies are held."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.layers import LayerGraph, Shape
from robustcert.lipschitz.lipsdp.frontier import Step
from robustcert.lipschitz.lipsdp.torus.frequencies import aliases, half
from robustcert.lipschitz.lipsdp.torus.places import Place, places
from robustcert.lipschitz.lipsdp.torus.windows import as_convolution, needed_sizes

LARGEST = 2**26
"""Complex numbers in a program's maps, up to which it is built."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The part of a graph that runs on the torus.

    Attributes:
        steps: the input's step and those of the activations that follow it there.
        sizes: sizes of each layer's torus, by the layer's position.
        frequencies: ``(F, D)`` whole numbers held in front of each step, and last
            those of the frontier behind all of them.
        weights: ``(F,)``: how often each of the last ones counts. One of each pair
            ``f, -f`` is held, and counts twice.
    """

    steps: tuple[Step, ...]
    sizes: dict[int, Shape]
    frequencies: tuple[Tensor, ...]
    weights: Tensor


def layout_of(graph: LayerGraph, steps: tuple[Step, ...]) -> Layout:
    """Sizes and frequencies for steps whose layers all have places.

    Raises:
        UnsupportedLayerError: values on two different grids are alive at once, or the
            maps would be too large.
    """
    known = places(graph)
    strides = [known[0].stride, *(_common_stride(graph, s, known) for s in steps)]
    sizes = _sizes(graph, steps, known, strides[-1])
    frequencies, weights = half(_quotient(sizes[0], strides[-1]))
    held = [frequencies]
    for before, after in reversed(list(pairwise(strides))):
        coarse = _quotient(sizes[0], after)
        held.insert(0, aliases(held[0], coarse, _quotient(after, before)))
    layout = Layout(steps, sizes, tuple(held), weights)
    _require_affordable(graph, layout)
    return layout


def _common_stride(graph: LayerGraph, step: Step, known: dict[int, Place]) -> Shape:
    stride = known[step.after[0]].stride
    for position in step.after:
        if known[position].stride != stride:
            raise UnsupportedLayerError(
                graph.layers[position].name,
                f"its grid is another than that of {graph.layers[step.after[0]].name!r}"
                ", which is alive at the same time",
            )
    return stride


def _sizes(
    graph: LayerGraph, steps: tuple[Step, ...], known: dict[int, Place], last: Shape
) -> dict[int, Shape]:
    """The smallest tori; each is the coarsest times the stride still to come."""
    needed = {
        position: graph.layers[position].shape[1:]
        for step in steps
        for position in (step.source, *step.members)
    }
    for reader in (position for step in steps for position in step.members):
        source = graph.layers[reader].inputs[0]
        shape = graph.layers[source].shape
        convolution = as_convolution(graph.layers[reader], shape)
        if convolution is not None:
            sizes = needed_sizes(convolution, shape)
            needed[source] = tuple(map(max, needed[source], sizes))
    ahead = {position: _quotient(last, known[position].stride) for position in needed}
    coarsest = [1 for _ in last]
    for position, sizes in needed.items():
        least = [-(-n // r) for n, r in zip(sizes, ahead[position], strict=True)]
        coarsest = list(map(max, coarsest, least))
    return {
        position: tuple(n * r for n, r in zip(coarsest, ratio, strict=True))
        for position, ratio in ahead.items()
    }


def _quotient(whole: Shape, part: Shape) -> Shape:
    return tuple(a // b for a, b in zip(whole, part, strict=True))


def _require_affordable(graph: LayerGraph, layout: Layout) -> None:
    entries = 0
    for step, frequencies in zip(layout.steps, layout.frequencies, strict=False):
        read = {source for m in step.members for source in graph.layers[m].inputs}
        leaves = (read | set(step.after)) & {*step.before, step.source}
        columns = _channels(graph, tuple(leaves))
        entries += len(frequencies) * _channels(graph, step.after) * columns
        if entries > LARGEST:
            raise UnsupportedLayerError(
                graph.layers[step.source].name,
                f"the maps up to here hold more than {LARGEST} numbers",
            )


def _channels(graph: LayerGraph, alive: tuple[int, ...]) -> int:
    """Channels of the layers alive, in all."""
    return sum(graph.layers[position].shape[0] for position in alive)
