"""The steepest of the given inputs."""

from __future__ import annotations

import torch

from robustcert.lipschitz.interface import Problem
from robustcert.lipschitz.lower.claim import claim
from robustcert.lipschitz.lower.jacobian import pairs_around, slopes_at
from robustcert.lipschitz.lower.spawn import points_in_box
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
    points = problem.inputs[: _INPUTS[effort]]
    if len(points) == 0:
        generator = torch.Generator().manual_seed(problem.seed)
        points = points_in_box(problem, _INPUTS[Effort.FAST], generator)
    steepest = slopes_at(problem, points).steepest(_KEPT)
    return claim(problem, pairs_around(steepest, problem.box), NAME)
