"""Gradient ascent on the Jacobian's norm, through ever sharper smooth twins."""

from __future__ import annotations

import torch

from robustcert.lipschitz.interface import Problem, required_graph
from robustcert.lipschitz.lower.annealed_ascent import (
    STEP_COST,
    Anneal,
    annealed_ascent,
)
from robustcert.lipschitz.lower.claim import claim
from robustcert.lipschitz.lower.data_jacobian import data_slopes
from robustcert.lipschitz.lower.jacobian import (
    Slopes,
    joined_slopes,
    pairs_around,
    slopes_at,
)
from robustcert.lipschitz.lower.schedule import Schedule
from robustcert.lipschitz.lower.spawn import starts
from robustcert.lipschitz.lower.work import Work, affordable, claimable, forward_cost
from robustcert.results.bound import LowerBound
from robustcert.results.effort import Effort

NAME = "jacobian_ascent"
_WANTED = {
    Effort.FAST: Work(32, 50),
    Effort.TIGHT: Work(96, 120),
    Effort.MAX: Work(256, 300),
}
_LEGS = (
    Anneal(sharpness=Schedule(3.0, 40.0), reach=Schedule(0.03, 0.001)),
    Anneal(sharpness=Schedule(8.0, 80.0), reach=Schedule(0.02, 0.0005)),
    Anneal(sharpness=Schedule(20.0, 200.0), reach=Schedule(0.01, 0.0003)),
)
"""Each leg begins at the best points of the one before, hotter than that has ended."""
_KEPT_SHARE = 4  # one in so many points goes on to the next leg
_FEWEST_KEPT = 4
_LEGS_COST = 1.0 + 1.0 / _KEPT_SHARE + 1.0 / _KEPT_SHARE**2
_CLAIMED = 8


def jacobian_ascent(problem: Problem, effort: Effort) -> LowerBound:
    """Lower bound from points of the box that climb the Jacobian's norm.

    The norm of a ReLU net's Jacobian has no gradient almost everywhere, so points climb
    that of a smooth twin that grows sharper. A quarter of the points starts at the
    steepest inputs, the others near inputs and anywhere in the box; the best start
    again from where they have come to. Pairs about the steepest points are the claim.

    Raises:
        UnsupportedLayerError: the model could not be read as layers.
        UnsoundModelError: an output is NaN or infinite.
    """
    generator = torch.Generator().manual_seed(problem.seed)
    climbed = steep_points(problem, effort, _WANTED[effort], generator)
    kept = claimable(problem, _CLAIMED, effort)
    steepest = slopes_at(problem, climbed.steepest(kept).points)
    return claim(problem, pairs_around(steepest, problem.box), NAME)


def steep_points(
    problem: Problem, effort: Effort, wanted: Work, generator: torch.Generator
) -> Slopes:
    """The steepest points of the box that all legs together came by.

    Args:
        problem: with a graph.
        effort: says how much of ``wanted`` can be paid for.
        wanted: points of the first leg, and steps of each leg.
        generator: of the starts.

    Raises:
        UnsupportedLayerError: the model could not be read as layers.
        UnsoundModelError: an output is NaN or infinite.
    """
    required_graph(problem)
    step_cost = STEP_COST * _LEGS_COST * forward_cost(problem)
    work = affordable(wanted, step_cost, effort)
    points = _first_points(problem, effort, work.points, generator)
    best: list[Slopes] = []
    for leg in _LEGS:
        points = annealed_ascent(problem, points, leg, work.steps)
        points = points.steepest(max(_FEWEST_KEPT, len(points.norms) // _KEPT_SHARE))
        best.append(points)
    return joined_slopes(best)


def _first_points(
    problem: Problem, effort: Effort, count: int, generator: torch.Generator
) -> Slopes:
    steep = data_slopes(problem, effort).steepest(max(1, count // 4))
    others = starts(problem, max(1, count - len(steep.norms)), generator)
    return joined_slopes([steep, slopes_at(problem, others)])
