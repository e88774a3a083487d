"""Pairs of inputs that climb the quotient ``|f(x) - f(y)| / |x - y|``."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustcert.lipschitz.interface import Map, Problem
from robustcert.lipschitz.lower.claim import Pairs, claim, joined
from robustcert.lipschitz.lower.jacobian import Slopes, pairs_around, slopes_at
from robustcert.lipschitz.lower.spawn import directions, starts
from robustcert.results.bound import LowerBound
from robustcert.results.effort import Effort
from robustcert.results.norm import Norm
from robustcert.tensors import box_diameter, clip_to_box, lp_norms, rows_like

NAME = "pair_ascent"
_DISTANCES = {Norm.L2: (0.15, 0.04, 0.01), Norm.LINF: (0.2, 0.05, 0.01)}
"""Distances of a pair, as shares of the box's diameter; one restart each."""
_COLLAPSED = 1e-3  # share of its distance below which a pair starts anew
_REACH = 0.01  # of the box's diameter: how far a centre moves at step 1
_GROW, _SHRINK, _SMALLEST = 1.3, 0.9, 1e-3
_POLISHED = 8
_SEGMENT_POINTS = 9


@dataclass(frozen=True, slots=True)
class Budget:
    """How many pairs climb together, for how many steps, after how many inputs."""

    pairs: int
    steps: int
    inputs: int


BUDGETS: dict[Effort, Budget] = {
    Effort.FAST: Budget(24, 60, 128),
    Effort.TIGHT: Budget(48, 150, 512),
    Effort.MAX: Budget(128, 300, 4096),
}


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """One restart: the distance pairs keep, its steps, and its random numbers."""

    distance: float
    steps: int
    generator: torch.Generator


@dataclass(frozen=True, slots=True, eq=False)
class _Climbers:
    """A batch of pairs ``centre +- direction * distance / 2``.

    ``steps`` are relative to the centres' reach; ``best`` is the largest quotient each
    pair has seen, at the ends kept in ``record``.
    """

    centres: Tensor
    directions: Tensor
    steps: Tensor
    best: Tensor
    record: Pairs


def pair_ascent(problem: Problem, effort: Effort) -> LowerBound:
    """Lower bound by gradient ascent on pairs, inside the box.

    Half of the pairs start at the steepest inputs, half anywhere in the box. A pair
    keeps its distance: its centre climbs along the gradient with a step that
    grows after a success and shrinks after a failure, its direction follows the power
    method. Pairs that the box presses together start anew. The mean value theorem puts
    a point at least as steep on the segment of the best pairs: Jacobians at nine
    points find it.

    Raises:
        UnsoundModelError: an output is NaN or infinite.

    Reference:
        Bungert et al. CLIP: Cheap Lipschitz Training of Neural Networks. SSVM 2021,
        Algorithm 2.
    """
    generator = torch.Generator().manual_seed(problem.seed)
    diameter = box_diameter(problem.box, problem.size, problem.norm)
    budget = BUDGETS[effort]
    steep = _steepest_inputs(problem, budget)
    climbed = [
        _climb(
            problem,
            _warm(_fresh(problem, budget.pairs, generator), steep),
            Course(share * diameter, budget.steps, generator),
        )
        for share in _DISTANCES[problem.norm]
    ]
    pairs = joined([climbers.record for climbers in climbed])
    best = torch.cat([climbers.best for climbers in climbed])
    chosen = best.topk(min(_POLISHED, len(best))).indices
    kept = Pairs(pairs.first[chosen], pairs.second[chosen])
    return claim(problem, joined([kept, _polished(problem, kept)]), NAME)


def _polished(problem: Problem, pairs: Pairs) -> Pairs:
    """Short pairs about the steepest points of the pairs' segments."""
    shares = torch.linspace(0.0, 1.0, _SEGMENT_POINTS).tolist()
    points = torch.cat([pairs.first.lerp(pairs.second, share) for share in shares])
    steepest = slopes_at(problem, points).steepest(_POLISHED)
    return pairs_around(steepest, problem.box)


def _steepest_inputs(problem: Problem, budget: Budget) -> Slopes | None:
    """Where half of the pairs start; ``None`` where there are no inputs."""
    if len(problem.inputs) == 0:
        return None
    slopes = slopes_at(problem, problem.inputs[: budget.inputs])
    return slopes.steepest(budget.pairs // 2)


def _warm(climbers: _Climbers, steep: Slopes | None) -> _Climbers:
    """The first pairs moved to the steepest inputs, along their top directions."""
    if steep is None:
        return climbers
    count = len(steep.norms)
    centres = torch.cat([steep.points, climbers.centres[count:]])
    pointing = torch.cat(
        [steep.directions.to(centres.dtype), climbers.directions[count:]]
    )
    return replace(
        climbers, centres=centres, directions=pointing, record=Pairs(centres, centres)
    )


def _climb(problem: Problem, climbers: _Climbers, course: Course) -> _Climbers:
    function = problem.working_map()
    for _ in range(course.steps):
        climbers = _step(problem, function, climbers, course.distance)
        climbers = _respawned(problem, climbers, course)
    return climbers


def _fresh(problem: Problem, count: int, generator: torch.Generator) -> _Climbers:
    centres = starts(problem, count, generator)
    pointing = _unit(directions(problem, count, generator), problem.norm)
    ones = torch.ones(count, dtype=centres.dtype, device=centres.device)
    return _Climbers(centres, pointing, 0.5 * ones, -ones, Pairs(centres, centres))


def _step(
    problem: Problem, function: Map, climbers: _Climbers, distance: float
) -> _Climbers:
    pairs = _ends(problem, climbers, distance)
    quotients, uphill, apart = _gradients(problem, function, pairs)
    better = quotients > climbers.best
    kept = rows_like(better, pairs.first)
    record = Pairs(
        torch.where(kept, pairs.first, climbers.record.first),
        torch.where(kept, pairs.second, climbers.record.second),
    )
    steps = climbers.steps * torch.where(better, _GROW, _SHRINK)
    steps = steps.clamp(min=_SMALLEST)
    reach = _REACH * box_diameter(problem.box, problem.size, problem.norm)
    moved = rows_like(reach * steps, uphill) * _unit(uphill, problem.norm)
    centres = clip_to_box((pairs.first + pairs.second) / 2.0 + moved, problem.box)
    turned = _unit(apart, problem.norm)
    stuck = rows_like(lp_norms(apart, problem.norm) == 0.0, apart)
    return _Climbers(
        centres,
        torch.where(stuck, climbers.directions, turned),
        steps,
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


def _unit(vectors: Tensor, norm: Norm) -> Tensor:
    """The unit vectors of ``norm`` that gain most along ``vectors``; 0 stays 0."""
    if norm is Norm.LINF:
        return vectors.sign()
    lengths = lp_norms(vectors, Norm.L2).clamp(min=torch.finfo(vectors.dtype).tiny)
    return vectors / rows_like(lengths, vectors)


def _respawned(problem: Problem, climbers: _Climbers, course: Course) -> _Climbers:
    """Pairs that have collapsed start anew elsewhere; their records stay."""
    pairs = _ends(problem, climbers, course.distance)
    lengths = lp_norms(pairs.first - pairs.second, problem.norm)
    collapsed = lengths < _COLLAPSED * course.distance
    if not bool(collapsed.any()):
        return climbers
    fresh = _fresh(problem, len(collapsed), course.generator)
    rows = rows_like(collapsed, pairs.first)
    return replace(
        climbers,
        centres=torch.where(rows, fresh.centres, climbers.centres),
        directions=torch.where(rows, fresh.directions, climbers.directions),
        steps=torch.where(collapsed, fresh.steps, climbers.steps),
    )
