"""Which program a graph gets: tori for convolutional nets, dense matrices otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.layers import LayerGraph
from robustcert.lipschitz.lipsdp.dense import LARGEST, dense_program
from robustcert.lipschitz.lipsdp.frontier import Step, steps
from robustcert.lipschitz.lipsdp.masks import with_masks
from robustcert.lipschitz.lipsdp.pools import without_max_pools
from robustcert.lipschitz.lipsdp.program import Program
from robustcert.lipschitz.lipsdp.torus.places import places
from robustcert.lipschitz.lipsdp.torus.program import hybrid_program, torus_program

CHEAP = 600
"""Units of its convolutional part, up to which a net is written out."""
REFINED = 2e10
"""Multiplications for one bound, up to which each position gets its own multiplier."""


def compiled(graph: LayerGraph) -> Program:
    """The graph as a program, without max pooling and, on tori, with masks.

    Args:
        graph: from :func:`~robustcert.lipschitz.upper.propagation.sound_folded`.

    Raises:
        UnsupportedLayerError: a layer has no rule, or the net is too large.
    """
    simple = without_max_pools(graph)
    walk = steps(simple)
    widths = _widths(simple, walk)
    if sum(widths[number] for number in _on_torus(simple, walk)) <= CHEAP:
        return dense_program(simple)
    try:
        return torus_program(with_masks(simple))
    except UnsupportedLayerError:
        if max(widths) > LARGEST:
            raise
        return dense_program(simple)


def written_out(graph: LayerGraph) -> Program | None:
    """The graph of dense matrices where :func:`compiled` has it on tori.

    Returns:
        ``None`` where it is of dense matrices already, or too large for them.
    """
    if not compiled(graph).torus:
        return None
    simple = without_max_pools(graph)
    if max(_widths(simple, steps(simple))) > LARGEST:
        return None
    return dense_program(simple)


def refined(graph: LayerGraph) -> Program | None:
    """The graph with a multiplier a unit from the first layer that is small enough.

    Returns:
        ``None`` where :func:`compiled` has one a unit already, or where no layer on a
        torus is small enough.
    """
    if not compiled(graph).torus:
        return None
    simple = plain(graph)
    walk = steps(simple)
    widths = _widths(simple, walk)
    costs = [_dense_cost(simple, step) for step in walk]
    for number in _on_torus(simple, walk):
        if sum(costs[number:]) <= REFINED and max(widths[number:]) <= LARGEST:
            layer = simple.layers[walk[number].source].name
            return hybrid_program(simple, layer)
    return None


def source_of(program: Program, graph: LayerGraph) -> LayerGraph:
    """The graph that :func:`compiled` made ``program`` of, given its own argument."""
    return plain(graph) if program.torus else without_max_pools(graph)


def spread_out(
    multipliers: Sequence[Tensor], program: Program, finer: Program
) -> list[Tensor]:
    """Multipliers of ``program`` for ``finer``: a channel's go to its every position.

    What was feasible stays so, and the bound does not rise.

    Args:
        multipliers: ``(M,)`` for each stage of ``program``.
        program: from :func:`compiled`.
        finer: from :func:`refined`, of the same graph.
    """
    found = []
    for number, (few, units) in enumerate(zip(multipliers, finer.units, strict=True)):
        many = few.repeat_interleave(units // max(len(few), 1))
        change = 2 * (finer.exponents[number] - program.exponents[number])
        found.append(torch.ldexp(many, torch.tensor(change)))
    return found


def plain(graph: LayerGraph) -> LayerGraph:
    """The graph that torus programs are made of: no max pooling, masks where needed."""
    return with_masks(without_max_pools(graph))


def _on_torus(graph: LayerGraph, walk: tuple[Step, ...]) -> list[int]:
    """Numbers of the steps before which all values can be on one torus."""
    known = places(graph)
    return [
        number
        for number, step in enumerate(walk)
        if number
        and all(position in known for position in step.before)
        and len({graph.layers[position].shape[1:] for position in step.before}) == 1
    ]


def _widths(graph: LayerGraph, walk: tuple[Step, ...]) -> list[int]:
    """Units alive in front of each step, none in front of the input's."""
    return [_width(graph, step.before) for step in walk]


def _dense_cost(graph: LayerGraph, step: Step) -> float:
    """Multiplications that an activation with a multiplier a unit takes, roughly."""
    units = float(graph.layers[step.source].size)
    before, after = _width(graph, step.before), _width(graph, step.after)
    cost = units**3 / 3.0 + units**2 * after + units * after**2
    read = {source for m in step.members for source in graph.layers[m].inputs}
    if (read | set(step.after)).intersection(step.before):
        cost += float(before) ** 2 * after + float(before) * after**2
    return cost


def _width(graph: LayerGraph, alive: tuple[int, ...]) -> int:
    return sum(graph.layers[position].size for position in alive)
