"""Search over the activation patterns of piecewise linear nets."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from robustcert.lipschitz.interface import Memo, Problem, required_graph
from robustcert.lipschitz.lower.claim import Pairs, claim, claim_anywhere, joined
from robustcert.lipschitz.lower.data_jacobian import data_slopes
from robustcert.lipschitz.lower.hidden_layer import (
    HiddenLayer,
    best_pattern,
    hidden_layer,
    pattern_norm,
)
from robustcert.lipschitz.lower.jacobian import pairs_anywhere, slopes_at
from robustcert.lipschitz.lower.jacobian_ascent import steep_points
from robustcert.lipschitz.lower.realised import realiser
from robustcert.lipschitz.lower.spawn import starts
from robustcert.lipschitz.lower.unit_flips import FLIP_COST, flipped, require_pieces
from robustcert.lipschitz.lower.work import Work, affordable, claimable, forward_cost
from robustcert.results.bound import LowerBound
from robustcert.results.effort import Effort
from robustcert.results.threat_model import Box

NAME = "activation_search"
_WANTED = {
    Effort.FAST: Work(16, 40),
    Effort.TIGHT: Work(48, 100),
    Effort.MAX: Work(128, 250),
}
"""For the ascent that comes before, once in the box and once around it."""
_FLIPPED = 4  # points whose units are flipped
_FLIPS = Work(points=8, steps=20)  # flips a point and round; rounds
_ROOM = 1.0  # how far the search outside leaves the box, in its widths
_PATTERNS = {Effort.FAST: 32, Effort.TIGHT: 128, Effort.MAX: 512}
_REALISED = 4
_EQUAL = 1e-6  # relative; of two equal bounds the one in the box says more


def activation_search(problem: Problem, effort: Effort) -> LowerBound:
    """Lower bound from flipping units until no flip makes the Jacobian steeper.

    A net of one hidden layer reaches every pattern if its first matrix has full row
    rank: its patterns are searched as such, and a point is solved for. In other nets a
    unit is flipped by moving the point across its kink, and what the net does there
    counts; the search begins where an annealed ascent ends. Points may leave the box
    where that gains something; the scope of the bound is global then.

    Raises:
        UnsupportedLayerError: the model could not be read as layers, or has an
            activation that is not piecewise linear.
        UnsoundModelError: an output is NaN or infinite.
    """
    graph = required_graph(problem)
    require_pieces(graph)
    layer = hidden_layer(graph)
    pairs = (
        _by_moving(problem, effort)
        if layer is None
        else _by_solving(problem, effort, layer)
    )
    anywhere = claim_anywhere(problem, pairs, NAME)
    inside = claim(problem, pairs, NAME)
    return inside if inside.value >= anywhere.value * (1.0 - _EQUAL) else anywhere


def _by_moving(problem: Problem, effort: Effort) -> Pairs:
    generator = torch.Generator().manual_seed(problem.seed + 1)
    room = _ROOM * problem.box.width
    around = Box(problem.box.low - room, problem.box.high + room)
    outside = replace(problem, box=around, memo=Memo())
    found = []
    for asked in (problem, outside):
        steep = steep_points(asked, effort, _WANTED[effort], generator)
        flips = affordable(_FLIPS, _FLIPPED * FLIP_COST * forward_cost(asked), effort)
        kept = claimable(asked, _FLIPPED, effort)
        start = slopes_at(asked, steep.steepest(kept).points)
        after = flipped(asked, start, flips.points, flips.steps)
        found.append(pairs_anywhere(slopes_at(asked, after.points), problem.box.width))
    return joined(found)


def _by_solving(problem: Problem, effort: Effort, layer: HiddenLayer) -> Pairs:
    generator = torch.Generator().manual_seed(problem.seed + 1)
    steep = data_slopes(problem, effort).steepest(_PATTERNS[effort]).points
    others = starts(problem, _PATTERNS[effort], generator)
    points = torch.cat([steep, others])
    points = points.to("cpu", torch.float64).flatten(1)
    patterns = _best_patterns(problem, layer, points)
    solver = realiser(layer, points)
    inside = [solver.in_box(p, x, problem.box) for p in patterns for x in points[:2]]
    anywhere = [solver.anywhere(pattern, points[0]) for pattern in patterns]
    found = torch.stack([*inside, *anywhere]).reshape(-1, *problem.inputs.shape[1:])
    wide = replace(problem, box=_hull(problem.box, found), memo=Memo())
    slopes = slopes_at(_in_float64(wide), found)
    return pairs_anywhere(slopes, problem.box.width)


def _best_patterns(problem: Problem, layer: HiddenLayer, points: Tensor) -> Tensor:
    """The steepest patterns that flips lead to from those of the points."""
    begun = points @ layer.inner.T + layer.bias > 0.0
    begun = torch.unique(begun, dim=0)
    ends = torch.stack([best_pattern(layer, start, problem.norm) for start in begun])
    ends = torch.unique(ends, dim=0)
    norms = torch.tensor([pattern_norm(layer, end, problem.norm) for end in ends])
    chosen = norms.topk(min(_REALISED, len(norms))).indices
    return torch.index_select(ends, 0, chosen)


def _hull(box: Box, points: Tensor) -> Box:
    """A box around ``box`` and the points, with room for a pair."""
    low = min(box.low, float(points.min()))
    high = max(box.high, float(points.max()))
    room = 0.01 * (high - low)
    return Box(low - room, high + room)


def _in_float64(problem: Problem) -> Problem:
    """The problem on the CPU in float64: a margin may be below float32's grain."""
    inputs = problem.inputs.to("cpu", torch.float64)
    return replace(problem, inputs=inputs, memo=Memo())
