"""Leaves that decide every unit: the bound is the linear program's optimum."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from robustcert.certify.branching.climb import Climb
from robustcert.certify.branching.confirm import lower_bounds
from robustcert.certify.branching.finished import finished
from robustcert.certify.branching.program import Leaves, steepest_slopes, whole
from robustcert.certify.branching.tree import Effort, Stand, planted
from robustcert.results.norm import Norm
from tests.unit.certify.test_branching import arguments_of, encoding


def leaf_of(net, point: Tensor) -> Leaves:
    """The leaf of a point, in which every open unit is split as it is there."""
    z = arguments_of(net.program, point[None])
    signs = torch.where(z > 0.0, -1, 1).to(torch.int8)
    signs = signs * net.bounds.is_open
    return Leaves(steepest_slopes(net.bounds), torch.zeros_like(z), signs)


def inside(net, leaf: Leaves, points: Tensor) -> Tensor:
    z = arguments_of(net.program, points)
    return (z * leaf.splits <= 0.0).all(dim=1)


@pytest.mark.parametrize("number", range(6))
def test_the_bound_is_attained_by_an_input_of_the_leaf(number):
    _, net, margins, points = encoding(0.6)
    leaf = leaf_of(net, points[number])
    form = net.outputs.rows(torch.tensor([0]))
    found = finished(net.program, net.bounds, form, leaf)
    seen = margins[inside(net, leaf, points), 0]
    value = float(found.value)
    assert value <= float(seen.min())
    (point,) = found.points
    low, high = net.program.region.ends
    assert ((point >= low - 1e-9) & (point <= high + 1e-9)).all()
    z = arguments_of(net.program, point[None])
    assert (z * leaf.splits).max() < 1e-6
    outputs = list(torch.split(z.relu(), [len(s) for s in net.program.stages], dim=1))
    attained = form.shift.clone()
    for stage, link in form.links.items():
        attained += (link * outputs[stage]).sum()
    if form.direct is not None:
        attained += (form.direct * point).sum()
    assert float(attained) - value < 1e-6 * (1.0 + abs(value))


def test_multipliers_reach_the_same_bound_in_any_leaf_or_less():
    """What a long climb finds is no better."""
    _, net, _, points = encoding(0.6)
    for number in range(4):
        leaf = leaf_of(net, points[number])
        form = net.outputs.rows(torch.tensor([0]))
        found = finished(net.program, net.bounds, form, leaf)
        g = torch.Generator().manual_seed(number)
        prices = torch.rand(200, net.program.units, generator=g, dtype=torch.float64)
        many = Leaves(leaf.slopes, prices, leaf.splits.expand(200, -1))
        tried = lower_bounds(
            net.program,
            net.bounds,
            form.rows(torch.zeros(200, dtype=torch.int64)),
            many,
        )
        assert tried.max() <= found.value + 1e-9


def test_a_leaf_without_inputs_is_closed():
    """A unit cannot be on where an earlier one, split the other way, forces it off."""
    _, net, _, points = encoding(0.6)
    form = net.outputs.rows(torch.tensor([0]))
    closed = 0
    for number in range(6):
        leaf = leaf_of(net, points[number])
        for unit in net.bounds.is_open.nonzero().flatten().tolist():
            splits = leaf.splits.clone()
            splits[0, unit] = -splits[0, unit]
            other = Leaves(leaf.slopes, leaf.prices, splits)
            if inside(net, other, points).any():
                continue
            found = finished(net.program, net.bounds, form, other)
            if found.points.isnan().all():
                closed += 1
                assert found.value > 100.0
    assert closed > 5


def test_a_ball_has_no_linear_program():
    _, net, _, points = encoding(0.6, Norm.L2)
    leaf = leaf_of(net, points[0])
    form = net.outputs.rows(torch.tensor([0]))
    assert finished(net.program, net.bounds, form, leaf) is None


def test_a_minimum_at_the_target_ends_the_search():
    """What rounding decides is not worked on until the time is up."""
    _, net, margins, _ = encoding(0.3)
    form = net.outputs.rows(torch.tensor([0]))
    stand = Stand.of(net.program, net.bounds)
    start = whole(steepest_slopes(stand.guides))
    lowest = _minimum(net, form, float(margins[:, 0].min()))
    for target, is_hopeless in [(lowest, True), (lowest - 1e-3, False)]:
        value = torch.full((1,), -torch.inf, dtype=torch.float64)
        trees = planted(
            form, value, start, target, Effort(Climb(steps=5), candidates=2)
        )
        for _ in range(2000):
            slots = trees.pool.worst(8)
            if not len(slots) or trees.hopeless:
                break
            trees.advance(stand, slots)
        assert trees.hopeless is is_hopeless
        assert bool(len(trees.pool.open_slots)) is is_hopeless


def _minimum(net, form, above: float) -> float:
    """The form's minimum, by halving between what trees prove and what is attained."""
    stand, below = Stand.of(net.program, net.bounds), above - 1.0
    start = whole(steepest_slopes(stand.guides))
    for _ in range(45):
        middle = (below + above) / 2.0
        value = torch.full((1,), -torch.inf, dtype=torch.float64)
        trees = planted(
            form, value, start, middle, Effort(Climb(steps=5), candidates=2)
        )
        while len(slots := trees.pool.worst(8)) and not trees.hopeless:
            trees.advance(stand, slots)
        above, below = (middle, below) if trees.hopeless else (above, middle)
    return above


def test_trees_close_with_linear_programs_alone():
    """Children get no better multipliers: only finished leaves are bounded well."""
    _, net, margins, _ = encoding(0.3)
    lowest = float(margins[:, 0].min())
    stand = Stand.of(net.program, net.bounds)
    form = net.outputs.rows(torch.tensor([0]))
    start = whole(steepest_slopes(stand.guides))
    target = lowest - 0.05 * abs(lowest) - 0.05
    value = torch.full((1,), -torch.inf, dtype=torch.float64)
    trees = planted(form, value, start, target, Effort(Climb(steps=0), candidates=2))
    for _ in range(4000):
        slots = trees.pool.worst(8)
        if not len(slots):
            break
        trees.advance(stand, slots)
    assert not len(trees.pool.open_slots)
