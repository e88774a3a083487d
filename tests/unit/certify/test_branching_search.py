"""How multipliers and trees are improved: where the best bound is known exactly."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from robustcert.certify.branching.climb import Climb, climbed
from robustcert.certify.branching.confirm import lower_bounds
from robustcert.certify.branching.hidden import Hidden, climbed_bounds, refined
from robustcert.certify.branching.margins import bound_margins, branch
from robustcert.certify.branching.program import (
    Bounds,
    Forms,
    Leaves,
    Program,
    steepest_slopes,
    whole,
)
from robustcert.certify.branching.question import Question
from robustcert.certify.branching.region import region_around
from robustcert.certify.branching.tree import Effort, Stand, planted
from robustcert.results.norm import Norm
from robustcert.results.threat_model import Box
from tests.unit.certify.test_branching import arguments_of, encoding

EFFORT = Effort(Climb(steps=5, price_rate=1.0), candidates=4)


def form(unit, direct, links):
    """``unit * relu(x) + direct * x`` or, without links, ``direct * x``."""
    return Forms(
        {0: torch.tensor([[unit]], dtype=torch.float64)} if links else {},
        torch.tensor([[direct]], dtype=torch.float64),
        torch.zeros(1, dtype=torch.float64),
        torch.full((1,), 4.0, dtype=torch.float64),
    )


def one_unit():
    """``relu(x)`` for x in [-1, 1]."""
    centre = torch.zeros(1, dtype=torch.float64)
    region = region_around(centre, 1.0, Norm.LINF, Box(-1.0, 1.0))
    nothing = Program((), region, 64)
    ends = torch.ones(1, dtype=torch.float64)
    return nothing.followed_by(form(0.0, 1.0, links=False)), Bounds(-ends, ends)


def leaf(slope, price, split):
    return Leaves(
        torch.tensor([[slope]], dtype=torch.float64),
        torch.tensor([[price]], dtype=torch.float64),
        torch.tensor([[split]], dtype=torch.int8),
    )


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("start", [0.0, 0.6, 1.0])
def test_the_slope_of_one_unit_climbs_to_the_exact_bound(share, start):
    """``relu(x) - share x`` is at least 0, which only the slope ``share`` proves."""
    program, bounds = one_unit()
    asked = form(1.0, -share, links=True)
    found = climbed(program, bounds, asked, leaf(start, 0.0, 0), Climb(40), 0.0)
    assert -0.02 <= float(found.value) <= 0.0
    assert float(found.leaves.slopes) == pytest.approx(share, abs=0.02)
    assert float(found.leaves.prices) == 0.0


@pytest.mark.parametrize(("split", "direct"), [(-1, 0.7), (1, -0.7)])
def test_the_price_of_a_split_climbs_to_the_exact_bound(split, direct):
    """On its side of the split ``0.7 |x|`` is at least 0: a price of 0.7 proves it."""
    program, bounds = one_unit()
    asked = form(0.0, direct, links=True)
    plan = Climb(40, price_rate=1.0)
    found = climbed(program, bounds, asked, leaf(0.0, 0.0, split), plan, 0.0)
    assert -0.02 <= float(found.value) <= 0.0
    assert float(found.leaves.prices) == pytest.approx(0.7, abs=0.02)


def test_without_a_rate_prices_stay_as_they_are():
    program, bounds = one_unit()
    asked = form(0.0, 0.7, links=True)
    found = climbed(program, bounds, asked, leaf(0.0, 0.1, -1), Climb(10), 0.0)
    assert float(found.leaves.prices) == pytest.approx(0.1)


def test_no_step_takes_a_bound_away_and_rows_above_the_target_stay_put():
    _, net, _, _ = encoding()
    start = whole(steepest_slopes(net.bounds).expand(len(net.outputs), -1))
    first = lower_bounds(net.program, net.bounds, net.outputs, start)
    low, high = first.sort().values
    target = float(low + high) / 2.0
    found = climbed(net.program, net.bounds, net.outputs, start, Climb(20), target)
    assert (found.value >= first - 1e-9).all()
    done = int(first.argmax())
    assert torch.equal(found.leaves.slopes[done], start.slopes[done])
    assert float(found.value[1 - done]) > float(low)


def test_the_looseness_of_a_unit_is_the_offset_of_its_upper_line():
    """From (-1, 0) to (3, 3) the line passes 0 at 3/4; closed units count nothing."""
    low = torch.tensor([-1.0, 0.0, -5.0], dtype=torch.float64)
    high = torch.tensor([3.0, 2.0, -1.0], dtype=torch.float64)
    assert Bounds(low, high).looseness == pytest.approx(0.75)


def loosened(net):
    return Stand.of(net.program, Bounds(net.bounds.low - 0.5, net.bounds.high + 0.5))


def test_better_bounds_of_units_raise_the_leaves_of_a_tree_that_is_kept():
    _, net, margins, _ = encoding()
    loose = loosened(net)
    free = whole(steepest_slopes(loose.guides).expand(len(net.outputs), -1))
    value = lower_bounds(loose.program, loose.bounds, net.outputs, free)
    trees = planted(net.outputs, value, free, math.inf, EFFORT)
    trees.advance(loose, trees.pool.worst(16))
    before = trees.pool.batch.value.clone()
    trees.refresh(Stand.of(net.program, net.bounds))
    is_open = trees.pool.open_slots
    assert (trees.pool.batch.value[is_open] >= before[is_open]).all()
    assert (trees.pool.batch.value[is_open] > before[is_open]).any()
    assert (trees.pool.least() <= margins.amin(dim=0)).all()


def test_a_refreshed_leaf_above_the_target_is_closed():
    _, net, _, _ = encoding()
    loose, known = loosened(net), Stand.of(net.program, net.bounds)
    free = whole(steepest_slopes(loose.guides).expand(len(net.outputs), -1))
    value = lower_bounds(loose.program, loose.bounds, net.outputs, free)
    better = lower_bounds(known.program, known.bounds, net.outputs, free)
    target = float((value.max() + better.max()) / 2.0)
    trees = planted(net.outputs, value, free, target, EFFORT)
    assert len(trees.pool.open_slots) == len(net.outputs)
    trees.refresh(known)
    assert len(trees.pool.open_slots) == int((better <= target).sum())
    assert bool((trees.pool.least() == torch.inf).any())


def test_bounds_of_a_stage_hold_when_its_trees_are_kept_and_when_they_are_stale():
    """Earlier stages get better between the turns, so that trees are planted anew."""
    _, net, _, points = encoding()
    seen = arguments_of(net.program, points)
    stand, hidden = loosened(net), Hidden()
    second = net.program.slices()[1]
    widths = []
    for bounds in (stand.bounds, stand.bounds, net.bounds):
        stand = stand.knowing(stand.bounds.narrowed(bounds.low, bounds.high))
        stand = climbed_bounds(stand, hidden, 1, Climb(steps=4))
        stand = refined(stand, hidden, 1, 200, lambda: False)
        known = stand.bounds.of(second)
        assert (seen[:, second] >= known.low).all()
        assert (seen[:, second] <= known.high).all()
        widths.append(float((known.high - known.low).sum()))
    assert all(after <= before for before, after in itertools.pairwise(widths))
    assert widths[-1] < widths[0]


def test_what_branching_proves_of_margins_holds_and_the_trees_are_kept():
    _, net, margins, _ = encoding()
    stand = Stand.of(net.program, net.bounds)
    target = float(margins.min()) + 1.0  # cannot be proved
    question = Question.of(stand, net.outputs, target, lambda _: False, lambda: False)
    bound_margins(question, Climb(steps=10))
    trees, before = [], question.value
    for _ in range(3):
        branch(question, 400)
        trees.append(question.grown.trees)
        assert (question.value >= before).all()
        before = question.value
    assert all(tree.pool.batch.value.isfinite().any() for tree in trees)
    assert question.grown.work > 400
    assert len(question.forms) == 1
    assert float(question.value[0]) <= float(margins.min())


def test_a_question_without_forms_is_settled():
    _, net, _, _ = encoding()
    stand = Stand.of(net.program, net.bounds)
    none = net.outputs.rows(torch.zeros(len(net.outputs), dtype=torch.bool))
    question = Question.of(stand, none, 0.0, lambda _: False, lambda: False)
    bound_margins(question, Climb(steps=3))
    assert question.settled
    assert not question.broken
