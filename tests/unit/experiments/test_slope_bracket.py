"""The steepest slope of functions of one variable whose slope is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from robustcert.errors import UnsupportedLayerError
from robustcert.experiments.slope_bracket import FLOOR, GAP, slope_bracket
from robustcert.train.live import live_graph


def layer(weight, bias):
    made = nn.Linear(len(weight[0]), len(weight))
    with torch.no_grad():
        made.weight.copy_(torch.tensor(weight))
        made.bias.copy_(torch.tensor(bias))
    return made


def graph_of(*modules):
    return live_graph(nn.Sequential(*modules).double(), (1,))


def random_net(seed):
    generator = torch.Generator().manual_seed(seed)
    net = nn.Sequential(
        nn.Linear(1, 20), nn.Sigmoid(), nn.Linear(20, 10), nn.Sigmoid(),
        nn.Linear(10, 1),
    ).double()  # fmt: skip
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(std=2.0, generator=generator)
    return net


def test_a_line_has_its_slope_on_both_sides():
    found = slope_bracket(graph_of(layer([[-2.5]], [1.0])), -3.0, 5.0)
    assert found.lower <= 2.5 <= found.upper
    assert found.upper - found.lower < 1e-12


def test_the_sigmoid_is_steepest_in_the_middle():
    found = slope_bracket(graph_of(layer([[4.0]], [0.0]), nn.Sigmoid(),
                                   layer([[1.0]], [0.0])), -4.0, 4.0)  # fmt: skip
    assert found.lower <= 1.0 <= found.upper <= found.lower * (1.0 + GAP) + FLOOR
    assert abs(found.at) < 0.1


def test_only_the_interval_counts():
    net = graph_of(layer([[1.0]], [0.0]), nn.Sigmoid(), layer([[1.0]], [0.0]))
    at_two = math.exp(-2.0) / (1.0 + math.exp(-2.0)) ** 2
    found = slope_bracket(net, 2.0, 6.0)
    assert found.lower <= at_two <= found.upper <= at_two * (1.0 + GAP) + FLOOR


def test_a_kink_counts_with_its_steeper_side():
    net = graph_of(layer([[1.0], [-3.0]], [0.0, 0.0]), nn.ReLU(),
                   layer([[1.0, 1.0]], [0.0]))  # fmt: skip
    found = slope_bracket(net, -1.0, 1.0)
    assert found.lower == pytest.approx(3.0, abs=1e-9)
    assert 3.0 <= found.upper <= 3.0 * (1.0 + GAP) + FLOOR
    assert found.at < 0.0


@pytest.mark.parametrize("seed", range(4))
def test_no_slope_of_a_net_leaves_the_bracket_and_the_lower_side_is_attained(seed):
    net = random_net(seed)
    found = slope_bracket(live_graph(net, (1,)), -4.0, 4.0)
    points = torch.linspace(-4.0, 4.0, 5001).double()[:, None].requires_grad_()
    (slopes,) = torch.autograd.grad(net(points).sum(), points)
    assert float(slopes.abs().max()) <= found.upper
    assert found.upper <= found.lower * (1.0 + GAP) + FLOOR
    place = torch.tensor([[found.at]]).double().requires_grad_()
    (slope,) = torch.autograd.grad(net(place).sum(), place)
    assert float(slope.abs()) == pytest.approx(found.lower, rel=1e-9)


def test_a_constant_has_slope_zero_up_to_the_floor():
    found = slope_bracket(graph_of(layer([[0.0]], [2.0])), -1.0, 1.0)
    assert found.lower == 0.0
    assert 0.0 <= found.upper <= FLOOR


def test_a_function_of_two_numbers_is_refused():
    net = live_graph(nn.Sequential(nn.Linear(2, 1)).double(), (2,))
    with pytest.raises(UnsupportedLayerError, match="one number to one number"):
        slope_bracket(net, 0.0, 1.0)


def test_a_layer_without_a_rule_is_refused_by_name():
    net = live_graph(nn.Sequential(nn.Flatten(), nn.Linear(1, 1)).double(), (1, 1))
    with pytest.raises(UnsupportedLayerError, match="slope rule"):
        slope_bracket(net, 0.0, 1.0)


def test_a_search_that_runs_out_of_pieces_still_encloses_the_slope():
    """Two steep layers whose slopes cancel: bounds of pieces are far too wide."""
    wide = layer([[300.0], [300.0]], [0.0, 1e-3])
    net = graph_of(wide, nn.Tanh(), layer([[50.0, -50.0]], [0.0]))
    found = slope_bracket(net, -4.0, 4.0)
    points = torch.linspace(-0.02, 0.02, 4001).double()
    slopes = (
        50.0
        * 300.0
        * (
            torch.cosh(300.0 * points).pow(-2)
            - torch.cosh(300.0 * points + 1e-3).pow(-2)
        )
    )
    steepest = float(slopes.abs().max())
    assert found.lower <= steepest * 1.0001
    assert steepest <= found.upper
    assert found.upper > found.lower * (1.0 + GAP) + FLOOR


def test_bounds_that_overflow_prove_nothing_instead_of_something_wrong():
    huge = layer([[3e38], [3e38]], [0.0, 0.0]).double()
    with torch.no_grad():
        huge.weight.mul_(1e250)
    net = graph_of(huge, nn.Tanh(), layer([[1e30, -1e30]], [0.0]))
    assert slope_bracket(net, -1.0, 1.0).upper == math.inf
