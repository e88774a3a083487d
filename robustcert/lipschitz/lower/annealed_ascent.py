"""Points that climb the Jacobian's norm while the net's smooth twin grows sharper."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.graph.smooth_twin import SmoothTwin, smooth_twin
from robustcert.lipschitz.interface import Map, Problem, required_graph
from robustcert.lipschitz.lower.jacobian import (
    POWER_STEP_COST,
    Slopes,
    inset,
    power_step,
    pushed_forward,
)
from robustcert.lipschitz.lower.schedule import Schedule, geometric
from robustcert.results.norm import Norm
from robustcert.tensors import box_diameter, lp_norms, rows_like, steepest_unit

STEP_COST = 8 + POWER_STEP_COST
"""Forward passes that one step of one point is worth."""

_MOMENTUM = 0.8


@dataclass(frozen=True, slots=True)
class Anneal:
    """How a search goes from coarse to fine.

    Attributes:
        sharpness: of the smooth twin.
        reach: length of one step, as a share of the box's L2 diameter.
    """

    sharpness: Schedule
    reach: Schedule


@dataclass(frozen=True, slots=True, eq=False)
class _Climb:
    """Points on their way, the direction each is steepest in, and the best so far."""

    slopes: Slopes
    velocity: Tensor
    best: Slopes


def annealed_ascent(
    problem: Problem, start: Slopes, anneal: Anneal, steps: int
) -> Slopes:
    """The steepest point that each start has come by, inside the box.

    A step follows the gradient of ``|J v|`` of the smooth twin by the point, with
    momentum, and v takes a power step on the net itself, whose norm there is recorded.

    Args:
        problem: with a graph.
        start: points, and directions to begin with.
        anneal: the schedules.
        steps: how many; >= 1.

    Raises:
        UnsoundModelError: an output is NaN or infinite.
        UnsupportedLayerError: the problem has no graph.
    """
    function = problem.working_map()
    inputs = start.points
    graph = required_graph(problem).to(inputs.dtype, inputs.device)
    twin = smooth_twin(graph, inputs)
    climb = _Climb(start, torch.zeros_like(inputs), start)
    diameter = box_diameter(problem.box, problem.size, Norm.L2)
    for sharpness, reach in zip(
        geometric(anneal.sharpness, steps), geometric(anneal.reach, steps), strict=True
    ):
        uphill = _uphill(twin, climb.slopes, sharpness, problem.norm)
        climb = _stepped(problem, function, climb, uphill, reach * diameter)
    return climb.best


def _stepped(
    problem: Problem, function: Map, climb: _Climb, uphill: Tensor, length: float
) -> _Climb:
    velocity = _MOMENTUM * climb.velocity + uphill
    moved = climb.slopes.points + length * steepest_unit(velocity, Norm.L2)
    moved = inset(moved, problem.box)
    here = Slopes(moved, climb.slopes.directions, climb.slopes.norms)
    slopes = power_step(problem, function, here)
    return _Climb(slopes, velocity, _steeper(climb.best, slopes))


def _uphill(twin: SmoothTwin, slopes: Slopes, sharpness: float, norm: Norm) -> Tensor:
    """Unit gradients of ``|J v|`` by the points; 0 where the twin is linear."""
    along = slopes.directions.to(slopes.points)
    with torch.enable_grad():
        leaf = slopes.points.detach().requires_grad_()
        moved = pushed_forward(
            lambda points: twin.outputs(points, sharpness), leaf, along
        )
        total = lp_norms(moved, norm).sum()
        if not total.requires_grad:
            return torch.zeros_like(slopes.points)
        (gradient,) = torch.autograd.grad(total, leaf)
    return steepest_unit(gradient.nan_to_num(0.0, 0.0, 0.0), Norm.L2)


def _steeper(best: Slopes, now: Slopes) -> Slopes:
    better = now.norms > best.norms
    rows = rows_like(better, now.points)
    return Slopes(
        torch.where(rows, now.points, best.points),
        torch.where(rows, now.directions.to(best.directions), best.directions),
        torch.where(better, now.norms, best.norms),
    )
