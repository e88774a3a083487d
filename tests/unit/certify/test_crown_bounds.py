"""Linear bounds hold on every layer kind, and are exact where the truth is known."""

from __future__ import annotations

import math

import pytest
import torch

from robustcert.certify.crown.balls import balls_of
from robustcert.certify.crown.first_layer import row_norms
from robustcert.certify.crown.hidden import enclosure, hidden_bounds
from robustcert.errors import UnsupportedLayerError
from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.execute import run, values
from robustcert.graph.layers import Elementwise, Layer, LayerGraph, MaxPool
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.threat_model import UNIT_BOX, Box
from tests.models import nets
from tests.unit.certify.crown_cases import (
    alpha_margins,
    crown_margins,
    graph_of,
    interval_margins,
    margins_at,
    radii_like,
    samples_of_the_balls,
    task_on,
)
from tests.unit.lipschitz.graphs import Sketch

WIDE = Box(-100.0, 100.0)
NETS = [*nets.IMAGE_NETS, *nets.TABLE_NETS]
ROUNDING = 1e-9


def sequence_net() -> LayerGraph:
    """One-dimensional convolutions, strided, with uneven padding, and a pool."""
    net = Sketch(2, 9)
    net.random_conv(4, stride=2, padding=((2, 0),))
    net.act()
    net.random_conv(3, dilation=2, padding=2)
    net.maximum(2, 1)
    net.act(Activation(ActivationKind.TANH))
    net.mean(1)
    net.linear(3)
    return net.graph()


def branching_net() -> LayerGraph:
    """Branches of unlike windows: strides, sizes, a difference, channels joined."""
    net = Sketch(2, 8, 8)
    stem = net.act(source=net.random_conv(4, padding=1))
    long = net.random_conv(4, padding=((2, 0), (0, 2)), source=stem)
    long = net.random_conv(4, stride=2, padding=1, source=net.act(source=long))
    short = net.random_conv(4, 1, stride=2, source=stem)
    net.act(source=net.add(long, short, -1.0))
    body = len(net.layers) - 1
    side = net.act(source=net.random_conv(2, groups=2, padding=1, source=body))
    net.concat(body, side)
    net.average(2, 2)
    net.permute(1, 2, 0)
    net.flatten()
    net.linear(3)
    return net.graph()


def negative_leak_net() -> LayerGraph:
    net = Sketch(5)
    for slope in (-0.3, 1.7):
        net.linear(6)
        net.act(Activation(ActivationKind.LEAKY_RELU, (slope,)))
    net.linear(3)
    return net.graph()


HAND_MADE = {
    "sequence": sequence_net,
    "branching": branching_net,
    "unusual leaks": negative_leak_net,
}


@pytest.fixture(scope="module")
def graphs():
    found = {name: graph_of(name) for name in NETS}
    return found | {name: build() for name, build in HAND_MADE.items()}


@pytest.mark.parametrize("norm", THREAT_NORMS)
@pytest.mark.parametrize("name", [*NETS, *HAND_MADE])
def test_bounds_hold_at_every_sampled_point_of_the_ball(graphs, name, norm):
    graph = graphs[name]
    for radius in (0.02, 0.6):
        task = task_on(graph, norm)
        radii = radii_like(task, radius)
        points = samples_of_the_balls(task, radii)
        reached = values(graph, points)
        bounds = hidden_bounds(graph, task, radii)
        for position, (low, high) in bounds.items():
            seen = reached[position].reshape(-1, *low.shape)
            assert (seen >= low - ROUNDING).all()
            assert (seen <= high + ROUNDING).all()
        worst = margins_at(task, points).amin(dim=1) + ROUNDING
        assert (crown_margins(task, radii) <= worst).all()
        assert (alpha_margins(task, radii, steps=3) <= worst).all()


def test_every_layer_that_an_activation_or_a_max_pooling_reads_is_bounded(graphs):
    for graph in graphs.values():
        task = task_on(graph, Norm.LINF)
        bounds = hidden_bounds(graph, task, radii_like(task, 0.1))
        readers = [x for x in graph.layers if isinstance(x, Elementwise | MaxPool)]
        assert set(bounds) == {reader.inputs[0] for reader in readers}
        for position, (low, high) in bounds.items():
            assert low.shape == (len(task), *graph.layers[position].shape)
            assert low.dtype == high.dtype == torch.float64


@pytest.mark.parametrize("norm", THREAT_NORMS)
@pytest.mark.parametrize("name", [*NETS, *HAND_MADE])
def test_linear_bounds_are_nowhere_looser_than_intervals(graphs, name, norm):
    task = task_on(graphs[name], norm)
    balls = balls_of(task, radii_like(task, 0.3))
    plain = enclosure(task.graph, balls, None).seen
    for position, (low, high) in hidden_bounds(task.graph, task, balls.radii).items():
        assert (low >= plain[position][0] - ROUNDING).all()
        assert (high <= plain[position][1] + ROUNDING).all()


@pytest.mark.parametrize("name", ["mlp", "conv", "residual", "max pool", "concat"])
def test_at_radius_zero_the_bound_is_the_margin(graphs, name):
    for norm in THREAT_NORMS:
        task = task_on(graphs[name], norm)
        exact = margins_at(task, task.inputs)[:, 0]
        bound = crown_margins(task, radii_like(task, 0.0))
        assert (bound <= exact).all()
        torch.testing.assert_close(bound, exact, rtol=0.0, atol=1e-9)


def test_bounds_of_a_larger_ball_are_kept_for_a_smaller_one(graphs):
    task = task_on(graphs["branching"], Norm.LINF)
    large = hidden_bounds(task.graph, task, radii_like(task, 0.2))
    alone = hidden_bounds(task.graph, task, radii_like(task, 0.19))
    helped = hidden_bounds(task.graph, task, radii_like(task, 0.19), known=large)
    for position, (low, high) in helped.items():
        assert (low >= large[position][0]).all()
        assert (high <= large[position][1]).all()
    widths = [
        sum((high - low).sum() for low, high in bounds.values())
        for bounds in (alone, helped)
    ]
    assert widths[1] <= widths[0] * (1.0 + 1e-9)


@pytest.mark.parametrize(
    "settings",
    [
        {"padding": 1},
        {"stride": 2, "padding": ((2, 0), (1, 2))},
        {"dilation": 2, "padding": 2},
        {"groups": 2, "stride": 3},
        {"padding": 4},
    ],
)
def test_each_row_of_a_padded_convolution_has_its_own_norm(settings):
    net = Sketch(4, 7, 6)
    net.affine(net.random(4, 1, 1), net.random(4, 1, 1))
    target = net.random_conv(6, **settings)
    graph = net.graph()
    task = task_on(graph, Norm.L2, count=1)
    balls = balls_of(task, radii_like(task, 0.1))
    found = row_norms(enclosure(graph, balls, None).relaxed, target)
    rows = torch.autograd.functional.jacobian(
        lambda x: run(graph, x[None])[0], torch.zeros(4, 7, 6, dtype=torch.float64)
    )
    truth = rows.flatten(3).norm(dim=3)
    torch.testing.assert_close(found, truth, rtol=1e-12, atol=1e-12)


def test_l2_bounds_of_a_convolution_are_exact_where_no_box_is_near():
    net = Sketch(1, 5, 5)
    net.random_conv(2, padding=1, stride=2)
    net.act()
    graph = net.graph()
    task = task_on(graph, Norm.L2, box=WIDE)
    low, high = hidden_bounds(graph, task, radii_like(task, 0.5))[1]
    rows = torch.autograd.functional.jacobian(
        lambda x: values(graph, x[None])[1][0], torch.zeros(1, 5, 5).double()
    )
    reach = 0.5 * rows.flatten(3).norm(dim=3)
    middle = values(graph, task.inputs)[1]
    torch.testing.assert_close(low, middle - reach, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(high, middle + reach, rtol=1e-10, atol=1e-10)


def test_two_affine_layers_in_front_of_an_activation_are_bounded_exactly():
    net = Sketch(1)
    net.linear(torch.tensor([[1.0], [1.0]]).double())
    net.linear(torch.tensor([[1.0, -1.0]]).double())
    net.act()
    graph = net.graph()
    task = task_on(graph, Norm.LINF, box=WIDE)
    low, high = hidden_bounds(graph, task, radii_like(task, 7.0))[2]
    assert (low.abs() < 1e-9).all()  # x - x, which intervals take for [-14, 14]
    assert (high.abs() < 1e-9).all()


def test_a_pool_that_one_input_dominates_is_bounded_exactly():
    net = Sketch(1, 2, 2)
    net.affine(torch.ones(1, 2, 2), torch.tensor([[[9.0, 0.0], [0.0, 0.0]]]))
    net.maximum(2)
    net.flatten()
    graph = net.graph()
    task = task_on(graph, Norm.LINF, box=WIDE, inputs=torch.zeros(1, 1, 2, 2).double())
    bound = crown_margins(task, radii_like(task, 2.0))  # one logit: 9 + x
    torch.testing.assert_close(bound, torch.tensor([7.0]).double())


def test_hidden_bounds_beat_intervals_where_paths_cancel():
    task = task_on(branching_net(), Norm.LINF)
    radii = radii_like(task, 0.05)
    assert (crown_margins(task, radii) > interval_margins(task, radii)).all()


def test_searched_slopes_lift_the_bound():
    task = task_on(graph_of("mlp"), Norm.LINF, count=8)
    radii = radii_like(task, 0.2)
    plain, searched = crown_margins(task, radii), alpha_margins(task, radii, steps=20)
    assert (searched >= plain - ROUNDING).all()
    assert (searched > plain + 1e-4).any()


def test_global_generators_are_left_alone():
    task = task_on(graph_of("conv"), Norm.L2)
    before = torch.random.get_rng_state()
    alpha_margins(task, radii_like(task, 0.3))
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_layer_without_a_rule_is_refused_by_name():
    class Strange(Layer):
        __slots__ = ()

    net = Sketch(3)
    net.linear(3)
    layers = (*net.layers, Strange("odd", (1,), (3,)))
    task = task_on(net.graph(), Norm.L2)
    with pytest.raises(UnsupportedLayerError, match="odd"):
        hidden_bounds(LayerGraph(layers), task, radii_like(task, 0.1))


def test_the_box_cuts_an_l2_ball():
    net = Sketch(2)
    net.linear(torch.tensor([[3.0, 4.0]]).double())
    graph = net.graph()
    corner = torch.tensor([[0.0, 0.5]]).double()  # x_0 cannot fall
    task = task_on(graph, Norm.L2, box=UNIT_BOX, inputs=corner)
    bound = crown_margins(task, radii_like(task, 0.25))
    torch.testing.assert_close(bound, torch.tensor([2.0 - 4.0 * 0.25]).double())
    assert math.isclose(float(bound), 1.0, abs_tol=1e-9)
