"""How much a search may do: counted in multiply-adds, so that no clock decides.

The same model, effort and seed give the same search on a fast and on a slow machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from robustcert.graph.layers import Conv, Layer, LayerGraph, Linear
from robustcert.lipschitz.interface import Problem
from robustcert.results.effort import Effort

MULTIPLY_ADDS: dict[Effort, float] = {
    Effort.FAST: 1e11,
    Effort.TIGHT: 1e12,
    Effort.MAX: 1e13,
}
"""What one lower method may spend, a backward pass counted as two forward passes."""

_UNREAD = 1e5  # multiply-adds per input coordinate of a model that has no graph
_CLAIM_COST = 12 * 8  # forward passes: six pairs a point, in float64, with errors
_FEWEST_POINTS, _FEWEST_STEPS = 2, 4


@dataclass(frozen=True, slots=True)
class Work:
    """How many points a search moves together, and for how many steps."""

    points: int
    steps: int


def forward_cost(problem: Problem) -> float:
    """Multiply-adds of one forward pass for one input, from the layers' shapes.

    A model that could not be read as layers is taken to cost 100,000 for each input
    coordinate, about what ResNet-18 does on 32 x 32 images.
    """
    if problem.graph is None:
        return _UNREAD * problem.size
    return graph_cost(problem.graph)


def graph_cost(graph: LayerGraph) -> float:
    """Multiply-adds of one forward pass for one input, one for each cheap output."""
    return float(sum(_layer_cost(layer) for layer in graph.layers))


def affordable(wanted: Work, pass_cost: float, effort: Effort) -> Work:
    """``wanted``, or as much of it as the effort pays for.

    Points and steps shrink by the same factor, to no fewer than 2 and 4.

    Args:
        wanted: of a model that costs nothing.
        pass_cost: multiply-adds of one step of one point.
        effort: whose budget counts.
    """
    share = MULTIPLY_ADDS[effort] / (pass_cost * wanted.points * wanted.steps)
    if share >= 1.0:
        return wanted
    shrink = math.sqrt(share)
    return Work(
        max(min(wanted.points, _FEWEST_POINTS), int(wanted.points * shrink)),
        max(min(wanted.steps, _FEWEST_STEPS), int(wanted.steps * shrink)),
    )


def affordable_count(wanted: int, cost: float, effort: Effort) -> int:
    """How many of ``wanted`` items of ``cost`` multiply-adds are paid for; >= 1."""
    return max(1, min(wanted, int(MULTIPLY_ADDS[effort] / cost)))


def claimable(problem: Problem, wanted: int, effort: Effort) -> int:
    """Around how many of ``wanted`` points the effort pays for pairs; >= 1.

    A pair is evaluated in float64 with its rounding error, which costs more than the
    search's own steps.
    """
    return affordable_count(wanted, _CLAIM_COST * forward_cost(problem), effort)


def _layer_cost(layer: Layer) -> int:
    match layer:
        case Linear():
            return layer.size * int(layer.weight.shape[1])
        case Conv():
            return layer.size * int(layer.weight[0].numel())
        case _:
            return layer.size
