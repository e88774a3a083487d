"""In which order a graph's layers run, and which values are alive in between.

Linear layers run as soon as their inputs are there, so that two branches of a strided
block are both on the small grid before their common input is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.layers import LINEAR_KINDS, Elementwise, LayerGraph


@dataclass(frozen=True, slots=True)
class Step:
    """One activation (or the input) and the linear layers behind it.

    Attributes:
        source: position of the activation layer, or of the input.
        before: positions of the layers alive in front of it.
        members: positions of the linear layers that run next, in order.
        after: positions of the layers alive behind them; the last step's only entry is
            the graph's output.
    """

    source: int
    before: tuple[int, ...]
    members: tuple[int, ...]
    after: tuple[int, ...]


def steps(graph: LayerGraph) -> tuple[Step, ...]:
    """The input's step, then one step an activation layer.

    Args:
        graph: every layer of use to the output.
    """
    waiting = list(range(1, len(graph.layers)))
    done: set[int] = set()
    alive: tuple[int, ...] = ()
    found: list[Step] = []
    source = 0
    while True:
        done.add(source)
        members = _linear_layers_ready(graph, waiting, done)
        before, alive = alive, _alive(graph, waiting, done)
        found.append(Step(source, before, members, alive))
        if not waiting:
            return tuple(found)
        source = _next_activation(graph, waiting, done)
        waiting.remove(source)


def _linear_layers_ready(
    graph: LayerGraph, waiting: list[int], done: set[int]
) -> tuple[int, ...]:
    """Moves every linear layer whose inputs are done from ``waiting`` to ``done``."""
    ready: list[int] = []
    for position in tuple(waiting):
        layer = graph.layers[position]
        if isinstance(layer, LINEAR_KINDS) and done.issuperset(layer.inputs):
            waiting.remove(position)
            done.add(position)
            ready.append(position)
    return tuple(ready)


def _next_activation(graph: LayerGraph, waiting: list[int], done: set[int]) -> int:
    for position in waiting:
        layer = graph.layers[position]
        ready = done.issuperset(layer.inputs)
        if ready and not isinstance(layer, LINEAR_KINDS):
            return position
    raise ValueError("no layer of the graph can run next")


def activation_of(graph: LayerGraph, step: Step) -> Elementwise:
    """The activation layer of a step that is not the input's.

    Raises:
        UnsupportedLayerError: it is no elementwise layer.
    """
    layer = graph.layers[step.source]
    if not isinstance(layer, Elementwise):
        raise UnsupportedLayerError(
            layer.name, f"{layer.kind} has no slopes between 0 and 1"
        )
    return layer


def _alive(graph: LayerGraph, waiting: list[int], done: set[int]) -> tuple[int, ...]:
    """Layers that are done and still read, or the output itself."""
    needed = {source for reader in waiting for source in graph.layers[reader].inputs}
    needed.add(len(graph.layers) - 1)
    return tuple(sorted(needed & done))
