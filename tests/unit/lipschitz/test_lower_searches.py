"""What the lower bounds' searches are made of: twins, flips, patterns, budgets."""

from __future__ import annotations

import itertools

import pytest
import torch

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.execute import run
from robustcert.graph.smooth_twin import smooth_twin
from robustcert.lipschitz.lower.activation_search import activation_search
from robustcert.lipschitz.lower.data_jacobian import data_jacobian
from robustcert.lipschitz.lower.hidden_layer import (
    best_pattern,
    hidden_layer,
    pattern_norm,
)
from robustcert.lipschitz.lower.jacobian import slopes_at
from robustcert.lipschitz.lower.jacobian_ascent import jacobian_ascent
from robustcert.lipschitz.lower.realised import realiser
from robustcert.lipschitz.lower.unit_flips import flipped
from robustcert.lipschitz.lower.work import (
    MULTIPLY_ADDS,
    Work,
    affordable,
    affordable_count,
    graph_cost,
)
from robustcert.results.bound import Scope
from robustcert.results.effort import Effort
from robustcert.results.norm import Norm
from robustcert.results.threat_model import UNIT_BOX
from tests.models.spline_nets import ZIGZAG
from tests.unit.lipschitz.graphs import Sketch, problem

BOTH = pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF])
LEAKY = Activation(ActivationKind.LEAKY_RELU, (0.2,))
BENT = (
    Activation(ActivationKind.RELU),
    LEAKY,
    Activation(ActivationKind.CLAMP, (-0.5, 0.5)),
    Activation(ActivationKind.CLAMP, (-torch.inf, 0.5)),
    Activation(ActivationKind.CLAMP, (0.0, torch.inf)),
    Activation(ActivationKind.HARDSIGMOID),
    ZIGZAG,
)
ROUND = (Activation(ActivationKind.HARDSWISH), Activation(ActivationKind.GELU))


def hidden_net(*, width=8, seed=0, activation=BENT[0], inputs=10) -> Sketch:
    net = Sketch(inputs, seed=seed)
    net.linear(width)
    net.act(activation)
    net.linear(3)
    return net


def deep_net(seed: int, activation=BENT[0]) -> Sketch:
    net = Sketch(1, 6, 6, seed=seed)
    net.random_conv(3, padding=1)
    net.act(activation)
    net.maximum()
    net.flatten()
    net.linear(12)
    net.act(activation)
    net.linear(4)
    return net


@pytest.mark.parametrize("activation", [*BENT, *ROUND], ids=str)
def test_the_smooth_twin_tends_to_its_net_and_can_be_climbed(activation):
    graph = deep_net(0, activation).graph()
    inputs = problem(graph).inputs
    twin, exact = smooth_twin(graph, inputs), run(graph, inputs)
    errors = [
        float((twin.outputs(inputs, sharpness) - exact).abs().max())
        for sharpness in (3.0, 30.0, 1e6)
    ]
    assert errors[1] <= 0.5 * errors[0]
    assert errors[2] <= 1e-4
    leaf = inputs.clone().requires_grad_()
    _, moved = torch.func.jvp(
        lambda x: twin.outputs(x, 5.0), (leaf,), (torch.ones_like(leaf),)
    )
    (gradient,) = torch.autograd.grad(moved.norm(dim=1).sum(), leaf)
    assert bool(torch.isfinite(gradient).all())
    assert float(gradient.abs().max()) > 0.0


@pytest.mark.parametrize(
    "pool",
    [
        {"kernel": 2, "stride": 2},
        {"kernel": 3, "stride": 2, "padding": 1},
        {"kernel": 2, "stride": 1, "dilation": 2},
        {"kernel": 3, "stride": 2, "ceil": True},
        {"kernel": 2, "stride": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(2, 7, 6), (2, 7)], ids=str)
def test_the_smooth_maximum_pools_over_the_same_windows(pool, shape):
    net = Sketch(*shape)
    net.maximum(**pool)
    graph = net.graph()
    inputs = problem(graph).inputs
    smooth = smooth_twin(graph, inputs).outputs(inputs, 1e6)
    assert torch.allclose(smooth, run(graph, inputs), atol=1e-4)


@BOTH
def test_the_ascent_is_steeper_than_the_data_on_deep_nets(norm):
    for seed in range(4):
        asked = problem(deep_net(seed).graph(), norm)
        climbed = jacobian_ascent(asked, Effort.FAST)
        assert climbed.value >= data_jacobian(asked, Effort.FAST).value * (1 - 1e-9)
        assert climbed.scope is Scope.BOX


@BOTH
@pytest.mark.parametrize("activation", BENT, ids=str)
def test_flips_only_ever_make_points_steeper_and_keep_them_in_the_box(norm, activation):
    gained = False
    for seed in range(4):
        asked = problem(deep_net(seed, activation).graph(), norm)
        start = slopes_at(asked, asked.inputs)
        after = flipped(asked, start, 6, 10)
        assert bool((after.norms >= start.norms * (1 - 1e-9)).all())
        assert float(after.points.abs().max()) <= 1.0
        again = slopes_at(asked, after.points).norms
        assert bool((again >= after.norms * (1 - 1e-9)).all())
        gained = gained or float(after.norms.max()) > 1.01 * float(start.norms.max())
    assert gained


@BOTH
@pytest.mark.parametrize("activation", [BENT[0], LEAKY], ids=str)
def test_one_hidden_layer_of_full_rank_reaches_its_steepest_pattern(norm, activation):
    """All 256 patterns of eight units are tried here; the search finds the best."""
    for seed in range(3):
        net = hidden_net(seed=seed, activation=activation)
        graph = net.graph()
        layer = hidden_layer(graph)
        patterns = torch.tensor(list(itertools.product([False, True], repeat=8)))
        truth = max(pattern_norm(layer, pattern, norm) for pattern in patterns)
        bound = activation_search(problem(graph, norm), Effort.FAST)
        assert bound.value <= truth
        assert bound.value == pytest.approx(truth, rel=1e-9)


@BOTH
def test_a_local_best_pattern_is_one_that_no_flip_improves(norm):
    layer = hidden_layer(hidden_net(width=10, seed=5).graph())
    start = torch.zeros(10, dtype=torch.bool)
    best = best_pattern(layer, start, norm)
    value = pattern_norm(layer, best, norm)
    assert value > pattern_norm(layer, start, norm)
    for unit in range(10):
        other = best.clone()
        other[unit] = ~other[unit]
        assert pattern_norm(layer, other, norm) <= value * (1 + 1e-9)


def test_a_skip_past_the_hidden_layer_is_part_of_every_region():
    net = Sketch(4)
    first = net.linear(4)
    net.add(net.linear(4, source=net.act(source=first)), 0)
    graph = net.graph()
    layer = hidden_layer(graph)
    asked = problem(graph)
    for point in asked.inputs:
        pattern = layer.inner @ point + layer.bias > 0.0
        whole = torch.autograd.functional.jacobian(
            lambda x: run(graph, x[None])[0], point
        )
        assert torch.allclose(layer.jacobian(pattern), whole)


def test_points_of_any_pattern_are_solved_for_in_the_box_where_they_are_there():
    layer = hidden_layer(hidden_net().graph())
    points = torch.rand(4, 10, generator=torch.Generator().manual_seed(3)).double()
    solver = realiser(layer, points)
    for pattern in torch.tensor(list(itertools.product([False, True], repeat=8))):
        there = layer.inner @ solver.anywhere(pattern, points[0]) + layer.bias
        assert torch.equal(there > 0.0, pattern)
    known = layer.inner @ points[1] + layer.bias > 0.0
    found = solver.in_box(known, points[1], UNIT_BOX)
    assert 0.0 <= float(found.min()) <= float(found.max()) <= 1.0
    assert torch.equal(layer.inner @ found + layer.bias > 0.0, known)


@pytest.mark.parametrize(
    "net",
    [deep_net(0), hidden_net(width=12), hidden_net(activation=BENT[2])],
    ids=["two layers", "more units than inputs", "three pieces"],
)
def test_other_nets_are_not_taken_for_one_hidden_layer(net):
    assert hidden_layer(net.graph()) is None


def test_curved_activations_have_no_patterns_and_are_refused_by_name():
    net = hidden_net(activation=ROUND[-1])
    with pytest.raises(UnsupportedLayerError, match="gelu has no linear pieces"):
        activation_search(problem(net.graph()), Effort.FAST)


def test_the_cost_of_a_graph_counts_multiply_adds():
    net = Sketch(2, 8, 8)
    net.random_conv(4, padding=1)  # 4 * 8 * 8 outputs of 2 * 3 * 3 products
    net.flatten()
    net.linear(5)  # 5 outputs of 256 products
    expected = 2 * 64 + 256 * 18 + 256 + 5 * 256
    assert graph_cost(net.graph()) == expected


def test_a_dear_model_is_searched_with_fewer_points_for_fewer_steps():
    wanted = Work(64, 100)
    budget = MULTIPLY_ADDS[Effort.FAST]
    assert affordable(wanted, budget / 6400, Effort.FAST) == wanted
    assert affordable(wanted, budget / 1600, Effort.FAST) == Work(32, 50)
    assert affordable(wanted, budget / 1600, Effort.TIGHT) == wanted
    assert affordable(wanted, 1e30, Effort.MAX) == Work(2, 4)
    assert affordable_count(100, budget / 10, Effort.FAST) == 10
    assert affordable_count(100, 1e30, Effort.FAST) == 1
