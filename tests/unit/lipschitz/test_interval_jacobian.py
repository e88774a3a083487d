"""Bounds of a region from bounds on the Jacobian's entries."""

from __future__ import annotations

import pytest
import torch

from robustcert.errors import UnsoundModelError
from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.execute import run
from robustcert.lipschitz.local.region import l2_ball, whole_box
from robustcert.lipschitz.upper.interval_jacobian import interval_jacobian_bound
from robustcert.lipschitz.upper.liplt import liplt
from robustcert.results.bound import Scope
from robustcert.results.effort import Effort
from robustcert.results.norm import Norm
from robustcert.results.threat_model import Box
from tests.unit.lipschitz.graphs import Sketch, absolute_value, problem

BOTH = pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF])
KINDS = [
    Activation(ActivationKind.RELU),
    Activation(ActivationKind.GELU),
    Activation(ActivationKind.TANH),
]


def random_net(activation=KINDS[0]):
    net = Sketch(5, seed=3)
    net.linear(8)
    net.act(activation)
    net.linear(8)
    net.act(activation)
    net.linear(3)
    return net


@BOTH
def test_away_from_its_kink_the_absolute_value_is_a_line(norm):
    point = torch.ones(1, dtype=torch.float64)
    near = interval_jacobian_bound(absolute_value(), l2_ball(point, 0.9), norm)
    assert near.value == pytest.approx(1.0, rel=1e-9)
    assert near.scope is Scope.BALL


@BOTH
def test_on_the_whole_box_the_scope_is_the_box(norm):
    bound = interval_jacobian_bound(
        absolute_value(), whole_box((1,), Box(-1.0, 1.0)), norm
    )
    assert bound.scope is Scope.BOX
    assert bound.value >= 1.0


@BOTH
def test_on_a_tiny_ball_it_is_the_norm_of_the_jacobian(norm):
    net = random_net()
    graph, point = net.graph(), net.random(5)
    jacobian = torch.autograd.functional.jacobian(
        lambda x: run(graph, x[None])[0], point
    )
    truth = float(torch.linalg.matrix_norm(jacobian, norm.value))
    bound = interval_jacobian_bound(graph, l2_ball(point, 1e-9), norm).value
    assert truth * (1 - 1e-9) <= bound <= truth * (1 + 1e-6)


@BOTH
@pytest.mark.parametrize("activation", KINDS)
@pytest.mark.parametrize("radius", [0.05, 0.5, 5.0])
def test_no_pair_in_the_ball_exceeds_the_bound(norm, activation, radius):
    net = random_net(activation)
    graph, centre = net.graph(), net.random(5)
    bound = interval_jacobian_bound(graph, l2_ball(centre, radius), norm).value
    first, second = (_inside(net, centre, radius) for _ in range(2))
    moved = torch.linalg.vector_norm(
        run(graph, first) - run(graph, second), ord=norm.value, dim=1
    )
    apart = torch.linalg.vector_norm(first - second, ord=norm.value, dim=1)
    assert bool((moved <= bound * apart + 1e-12).all())


def _inside(net: Sketch, centre, radius: float):
    steps = net.random(500, 5)
    lengths = torch.rand(500, 1, generator=net.generator, dtype=torch.float64)
    return centre + radius * lengths * steps / steps.norm(dim=1, keepdim=True)


def test_a_larger_ball_never_has_a_smaller_bound():
    net = random_net()
    centre = net.random(5)
    bounds = [
        interval_jacobian_bound(net.graph(), l2_ball(centre, radius), Norm.LINF).value
        for radius in (0.01, 0.1, 1.0, 10.0)
    ]
    assert bounds == sorted(bounds)


def test_on_a_huge_ball_it_is_the_global_bound():
    net = random_net()
    everywhere = liplt(problem(net.graph(), Norm.LINF), Effort.FAST).value
    ball = l2_ball(torch.zeros(5, dtype=torch.float64), 1e6)
    bound = interval_jacobian_bound(net.graph(), ball, Norm.LINF).value
    assert bound == pytest.approx(everywhere, rel=1e-9)


def test_weights_that_are_not_finite_are_no_ground_for_a_claim():
    net = Sketch(1)
    net.linear(torch.tensor([[float("nan")]], dtype=torch.float64))
    region = l2_ball(torch.zeros(1, dtype=torch.float64), 1.0)
    with pytest.raises(UnsoundModelError, match="'linear1'"):
        interval_jacobian_bound(net.graph(), region, Norm.LINF)
