"""Pairs of inputs that climb the quotient ``|f(x) - f(y)| / |x - y|``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.lipschitz.interface import Map, Problem
from robustcert.lipschitz.lower.claim import Pairs, claim, joined
from robustcert.lipschitz.lower.data_jacobian import data_slopes
from robustcert.lipschitz.lower.jacobian import (
    Slopes,
    joined_slopes,
    pairs_around,
    slopes_at,
)
from robustcert.lipschitz.lower.schedule import Schedule, geometric
from robustcert.lipschitz.lower.spawn import directions, starts
from robustcert.lipschitz.lower.work import Work, affordable, claimable, forward_cost
from robustcert.results.bound import LowerBound
from robustcert.results.effort import Effort
from robustcert.results.norm import Norm
from robustcert.tensors import (
    box_diameter,
    clip_to_box,
    lp_norms,
    rows_like,
    steepest_unit,
)

NAME = "pair_ascent"
_WANTED = {
    Effort.FAST: Work(24, 60),
    Effort.TIGHT: Work(96, 150),
    Effort.MAX: Work(256, 300),
}
"""Pairs that climb together in each course, and their steps."""
_STEP_COST = 6  # forward passes that a step of one pair is worth
_DISTANCES = (Schedule(0.3, 0.002), Schedule(0.15, 0.002), Schedule(0.05, 0.002))
"""Distances of a pair, as shares of the box's diameter; one course each."""
_REACH = Schedule(0.03, 0.001)
"""How far a centre moves in one step, as a share of the box's L2 diameter."""
_MOMENTUM = 0.8
_POLISHED = 8
_SEGMENT_POINTS = 9


@dataclass(frozen=True, slots=True, eq=False)
class _Climbers:
    """A batch of pairs ``centre +- direction * distance / 2``.

    ``best`` is the largest quotient each pair has seen, at the ends in ``record``.
    """

    centres: Tensor
    directions: Tensor
    velocity: Tensor
    best: Tensor
    record: Pairs


def pair_ascent(problem: Problem, effort: Effort) -> LowerBound:
    """Lower bound by gradient ascent on pairs, inside the box.

    Half of the pairs start at the steepest inputs, half near inputs and anywhere in
    the box. A pair's centre climbs the gradient of ``|f(x) - f(y)|`` with momentum, its
    direction follows the power method, and its distance shrinks from step to step: a
    distant pair sees the net smoothed, a close one its slope. The mean value theorem
    puts a point at least as steep on the segment of the best pairs: Jacobians at nine
    points find it.

    Raises:
        UnsoundModelError: an output is NaN or infinite.

    Reference:
        Bungert et al. CLIP: Cheap Lipschitz Training of Neural Networks. SSVM 2021,
        Algorithm 2, for pairs without a schedule of distances.
    """
    generator = torch.Generator().manual_seed(problem.seed)
    step_cost = len(_DISTANCES) * _STEP_COST * forward_cost(problem)
    work = affordable(_WANTED[effort], step_cost, effort)
    steep = data_slopes(problem, effort).steepest(max(1, work.points // 2))
    climbed = [
        _climb(problem, _fresh(problem, work.points, steep, generator), course, work)
        for course in _DISTANCES
    ]
    pairs = joined([climbers.record for climbers in climbed])
    best = torch.cat([climbers.best for climbers in climbed])
    count = claimable(problem, _POLISHED, effort)
    chosen = best.topk(min(count, len(best))).indices
    kept = Pairs(pairs.first[chosen], pairs.second[chosen])
    return claim(problem, joined([kept, _polished(problem, kept)]), NAME)


def _polished(problem: Problem, pairs: Pairs) -> Pairs:
    """Short pairs about the steepest points of the pairs' segments."""
    shares = torch.linspace(0.0, 1.0, _SEGMENT_POINTS).tolist()
    points = torch.cat([pairs.first.lerp(pairs.second, share) for share in shares])
    steepest = slopes_at(problem, points).steepest(len(pairs.first))
    return pairs_around(steepest, problem.box)


def _fresh(
    problem: Problem, count: int, steep: Slopes, generator: torch.Generator
) -> _Climbers:
    """Pairs at the steepest inputs, along their top directions, and others."""
    others = count - len(steep.norms)
    centres = starts(problem, others, generator)
    along = steepest_unit(directions(problem, others, generator), problem.norm)
    unknown = torch.zeros(others, dtype=steep.norms.dtype, device=along.device)
    whole = joined_slopes([steep, Slopes(centres, along.to(steep.directions), unknown)])
    centres = whole.points
    return _Climbers(
        centres,
        whole.directions.to(centres.dtype),
        torch.zeros_like(centres),
        torch.full_like(centres.flatten(1)[:, 0], -1.0),
        Pairs(centres, centres),
    )


def _climb(
    problem: Problem, climbers: _Climbers, distances: Schedule, work: Work
) -> _Climbers:
    function = problem.working_map()
    diameter = box_diameter(problem.box, problem.size, problem.norm)
    reach = box_diameter(problem.box, problem.size, Norm.L2)
    for distance, step in zip(
        geometric(distances, work.steps), geometric(_REACH, work.steps), strict=True
    ):
        pairs = _ends(problem, climbers, distance * diameter)
        climbers = _step(problem, function, climbers, pairs, step * reach)
    return climbers


def _step(
    problem: Problem, function: Map, climbers: _Climbers, pairs: Pairs, length: float
) -> _Climbers:
    quotients, uphill, apart = _gradients(problem, function, pairs)
    better = quotients > climbers.best
    kept = rows_like(better, pairs.first)
    record = Pairs(
        torch.where(kept, pairs.first, climbers.record.first),
        torch.where(kept, pairs.second, climbers.record.second),
    )
    velocity = _MOMENTUM * climbers.velocity + steepest_unit(uphill, Norm.L2)
    middle = (pairs.first + pairs.second) / 2.0
    moved = middle + length * steepest_unit(velocity, Norm.L2)
    turned = steepest_unit(apart, problem.norm)
    stuck = rows_like(lp_norms(apart, problem.norm) == 0.0, apart)
    return _Climbers(
        clip_to_box(moved, problem.box),
        torch.where(stuck, climbers.directions, turned),
        velocity,
        torch.where(better, quotients, climbers.best),
        record,
    )


def _ends(problem: Problem, climbers: _Climbers, distance: float) -> Pairs:
    offset = climbers.directions * (distance / 2.0)
    return Pairs(
        clip_to_box(climbers.centres + offset, problem.box),
        clip_to_box(climbers.centres - offset, problem.box),
    )


def _gradients(
    problem: Problem, function: Map, pairs: Pairs
) -> tuple[Tensor, Tensor, Tensor]:
    """Quotients ``(M,)``; gradients of ``|f(x) - f(y)|`` by the centre and direction.

    NaN counts as no movement at all.
    """
    with torch.enable_grad():
        first = pairs.first.detach().requires_grad_()
        second = pairs.second.detach().requires_grad_()
        moved = lp_norms(function(first) - function(second), problem.norm)
        ahead, behind = torch.autograd.grad(moved.sum(), (first, second))
    lengths = lp_norms(pairs.first - pairs.second, problem.norm)
    tiny = torch.finfo(lengths.dtype).tiny
    quotients = (moved.detach() / lengths.clamp(min=tiny)).nan_to_num(0.0, 0.0, 0.0)
    quotients = torch.where(lengths > 0.0, quotients, -torch.ones_like(quotients))
    ahead, behind = ahead.nan_to_num(0.0), behind.nan_to_num(0.0)
    return quotients, ahead + behind, ahead - behind
