"""L-infinity bounds by a semidefinite relaxation of each logit."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.execute import run
from robustcert.lipschitz.lipsdp.easing import eased
from robustcert.lipschitz.lipsdp.search.iterate import Deadline
from robustcert.lipschitz.lipsdp.search.lbfgs import descended, differentiated
from robustcert.lipschitz.upper import geolip as method
from robustcert.lipschitz.upper.geolip import geolip, weights_within_one
from robustcert.lipschitz.upper.liplt import liplt
from robustcert.lipschitz.upper.spectral_product import spectral_product
from robustcert.results.effort import Effort
from robustcert.results.norm import Norm
from tests.unit.lipschitz.graphs import Sketch, absolute_value, problem


def bound(graph) -> float:
    return geolip(problem(graph, Norm.LINF), Effort.FAST).value


def net_of(*sizes: int, seed: int = 1):
    net = Sketch(sizes[0], seed=seed)
    for size in sizes[1:-1]:
        net.linear(size)
        net.act()
    net.linear(sizes[-1])
    return net


def test_the_absolute_value_as_a_net_has_constant_one():
    assert 1.0 <= bound(absolute_value()) <= 1.0 + 1e-6


def test_a_linear_net_is_bounded_by_its_largest_row():
    net = net_of(6, 4)
    truth = float(net.layers[1].weight.abs().sum(dim=1).max())
    assert truth <= bound(net.graph()) <= truth * (1 + 1e-9)


def test_a_constant_net_is_bounded_by_rounding_alone():
    net = Sketch(3)
    net.linear(4)
    net.act()
    net.linear(torch.zeros(2, 4, dtype=torch.float64))
    assert bound(net.graph()) <= 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_the_optimum_of_the_relaxation_is_reached(seed):
    oracle = pytest.importorskip("tests.differential.lipsdp_oracle")
    graph = net_of(4, 6, 3, seed=seed).graph()
    net = oracle.read(graph)
    best = max(oracle.geolip(net.logit(row)).upper for row in np.eye(3))
    assert best * (1 - 1e-5) <= bound(graph) <= best * (1 + 1e-3)


@pytest.mark.parametrize("sizes", [(5, 8, 3), (4, 6, 6, 2)])
def test_it_lies_between_gradients_and_the_cheaper_bounds(sizes):
    net = net_of(*sizes)
    graph = net.graph()
    steepest = max(
        float(
            torch.autograd.functional.jacobian(lambda x: run(graph, x[None])[0], point)
            .abs()
            .sum(dim=1)
            .max()
        )
        for point in net.random(50, sizes[0])
    )
    asked = problem(graph, Norm.LINF)
    cheap = min(upper(asked, Effort.FAST).value for upper in (liplt, spectral_product))
    assert steepest <= bound(graph) <= cheap


def test_a_residual_net_is_bounded_as_well():
    net = Sketch(3, seed=4)
    net.linear(4)
    first = net.act()
    net.linear(4)
    net.add(first, net.act())
    net.linear(2)
    graph = net.graph()
    assert (
        bound(graph) <= spectral_product(problem(graph, Norm.LINF), Effort.FAST).value
    )


def test_it_is_a_method_for_l_infinity_alone():
    with pytest.raises(UnsupportedLayerError, match="linf"):
        geolip(problem(absolute_value(), Norm.L2), Effort.FAST)


def test_large_nets_are_refused_by_name(monkeypatch):
    monkeypatch.setattr(method, "LARGEST", 5)
    with pytest.raises(UnsupportedLayerError, match="'linear1': 6 units"):
        bound(net_of(4, 6, 3).graph())


def test_weights_stay_within_one_to_the_last_digit():
    generator = torch.Generator().manual_seed(0)
    for size in (1, 3, 784):
        shares = torch.rand(size, generator=generator, dtype=torch.float64)
        weights = weights_within_one(shares / shares.sum())
        total = sum(Fraction(weight) ** 2 for weight in weights.tolist())
        assert 1 - Fraction(1, 10**9) <= total <= 1


def test_descent_stays_inside_the_domain_and_finds_the_minimum():
    goal = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)

    def objective(point):
        if float(point.detach().abs().max()) > 3.0:
            return None
        scale = torch.tensor([1.0, 30.0, 900.0], dtype=torch.float64)
        return (scale * (point - goal).square()).sum()

    start = torch.tensor([2.9, 2.9, -2.9], dtype=torch.float64)
    found = descended(differentiated(objective), start, Deadline.after(10.0), 500)
    assert found is not None
    torch.testing.assert_close(found.place, goal, rtol=0.0, atol=1e-3)


def test_easing_raises_later_stages_more():
    ones = [torch.ones(2, dtype=torch.float64)] * 3
    factors = [float(each[0]) for each in eased(ones, 0.5)]
    assert factors == [1.5, 1.5**2, 1.5**3]
