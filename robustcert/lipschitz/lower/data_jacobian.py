"""The steepest of the given inputs, and how steep they are on average."""

from __future__ import annotations

import torch

from robustcert.lipschitz.interface import Problem
from robustcert.lipschitz.lower.claim import claim
from robustcert.lipschitz.lower.jacobian import (
    Slopes,
    pairs_around,
    slopes_at,
    slopes_cost,
)
from robustcert.lipschitz.lower.spawn import points_in_box
from robustcert.lipschitz.lower.work import affordable_count, claimable, forward_cost
from robustcert.results.bound import LowerBound
from robustcert.results.effort import Effort

NAME = "data_jacobian"
_INPUTS = {Effort.FAST: 128, Effort.TIGHT: 512, Effort.MAX: 4096}
_KEPT = 8


def data_jacobian(problem: Problem, effort: Effort) -> LowerBound:
    """Lower bound from the largest Jacobian norm over the problem's first inputs.

    The witness is a pair about that input, along the Jacobian's top direction, moved
    at most a thousandth of the box's width off its walls. Without inputs, random
    points of the box are taken.

    Raises:
        UnsoundModelError: an output is NaN or infinite.
    """
    kept = claimable(problem, _KEPT, effort)
    steepest = data_slopes(problem, effort).steepest(kept)
    return claim(problem, pairs_around(steepest, problem.box), NAME)


def mean_slope(problem: Problem, effort: Effort) -> float:
    """Mean Jacobian norm over the points that :func:`data_jacobian` looks at.

    A statistic of the data, to set beside the largest; it bounds nothing.

    Raises:
        UnsoundModelError: an output is NaN or infinite.
    """
    return float(data_slopes(problem, effort).norms.mean())


def data_slopes(problem: Problem, effort: Effort) -> Slopes:
    """Slopes at as many of the first inputs as the effort pays for, made once.

    Without inputs, at random points of the box.

    Raises:
        UnsoundModelError: an output is NaN or infinite.
    """
    return problem.memo.once(
        f"data slopes, {effort.value}", lambda: _data_slopes(problem, effort)
    )


def _data_slopes(problem: Problem, effort: Effort) -> Slopes:
    points = problem.inputs
    if len(points) == 0:
        generator = torch.Generator().manual_seed(problem.seed)
        points = points_in_box(problem, _INPUTS[Effort.FAST], generator)
    with torch.no_grad():
        outputs = problem.working_map()(points[:1]).shape[1]
    cost = slopes_cost(outputs) * forward_cost(problem)
    return slopes_at(problem, points[: affordable_count(_INPUTS[effort], cost, effort)])
