"""How far a program's float matrices are from the maps of the graph as shipped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.graph.layers import Elementwise, LayerGraph
from robustcert.lipschitz.lipsdp.dense import dense_program
from robustcert.lipschitz.lipsdp.frontier import Step, steps
from robustcert.lipschitz.lipsdp.program import Program
from robustcert.lipschitz.magnitude import magnitude, terms
from robustcert.lipschitz.matrix_norm import FOLDING
from robustcert.lipschitz.rounding import gamma

Slopes = Mapping[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True, eq=False)
class StageError:
    """Entrywise bounds on what rounding did to one stage's matrices.

    Attributes:
        spread: ``(n', M)``.
        carry: ``(n', n)``; ``None`` where nothing is carried on.
    """

    spread: Tensor
    carry: Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class EntryErrors:
    """The same for a whole dense program; ``start`` is ``(n, k)``."""

    start: Tensor
    stages: tuple[StageError, ...]


def no_errors(program: Program) -> EntryErrors:
    """For a program whose matrices are what is asked about."""
    return EntryErrors(
        torch.zeros_like(program.start[0, 0]),
        tuple(
            StageError(
                torch.zeros_like(stage.spread[0, 0]),
                None if stage.carry is None else torch.zeros_like(stage.carry[0, 0]),
            )
            for stage in program.stages
        ),
    )


def entry_errors(graph: LayerGraph, slopes: Slopes, program: Program) -> EntryErrors:
    """Bounds for ``program``, which is ``dense_program(graph, slopes)``.

    Every entry is a sum of products of weights and slopes; it is off by at most
    ``gamma(roundings)`` times the same sum over absolute values, which is what a
    program of the graph's magnitudes holds.

    Args:
        graph: folded, float64, without max pooling; each weight may be off by
            ``FOLDING`` relatively.
        slopes: as given to the program.
        program: dense.
    """
    whole = LayerGraph(tuple(magnitude(layer) for layer in graph.layers))
    sizes = dense_program(whole, _magnitudes(graph, slopes))
    shares = [_share(graph, step) for step in steps(graph)]
    lifts = [
        ours - theirs
        for ours, theirs in zip(program.exponents, sizes.exponents, strict=True)
    ]
    stages = []
    for number, stage in enumerate(sizes.stages):
        factor = shares[number + 1] * math.ldexp(1.0, lifts[number + 1] - lifts[number])
        carry = None if stage.carry is None else factor * stage.carry[0, 0]
        stages.append(StageError(factor * stage.spread[0, 0], carry))
    start = shares[0] * math.ldexp(1.0, lifts[0]) * sizes.start[0, 0]
    return EntryErrors(start, tuple(stages))


def _magnitudes(graph: LayerGraph, slopes: Slopes) -> dict[str, tuple[Tensor, Tensor]]:
    """Slopes whose smaller one and whose distance are no smaller than in ``slopes``."""
    found = {}
    for layer in graph.layers:
        if not isinstance(layer, Elementwise):
            continue
        least, most = layer.activation.slopes
        ones = torch.ones(layer.size, dtype=torch.float64)
        low, high = slopes.get(layer.name, (least * ones, most * ones))
        size = low.abs()
        beyond = torch.nextafter(size + 2.0 * (high - low), torch.inf * ones)
        found[layer.name] = size, torch.where(high > low, beyond, size)
    return found


def _share(graph: LayerGraph, step: Step) -> float:
    """Relative error of an entry: its roundings, and the folding of its weights."""
    roundings = 0
    for member in step.members:
        layer = graph.layers[member]
        roundings += terms(layer, graph.layers[layer.inputs[0]].shape) + 4
    return 2.0 * (gamma(2 * roundings + 64) + FOLDING * len(step.members))
