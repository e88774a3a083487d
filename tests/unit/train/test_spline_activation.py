"""A learned activation: what it computes, what it learns, and what files hold of it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from robustcert.errors import UnsupportedLayerError, UsageError
from robustcert.evaluation.load import load_model
from robustcert.graph.activations import ActivationKind
from robustcert.graph.execute import run
from robustcert.graph.extract import extract
from robustcert.graph.layers import Elementwise
from robustcert.results.threat_model import UNIT_BOX, Box
from robustcert.train.backward_floors import backward_margin_floors
from robustcert.train.export import save_model
from robustcert.train.intervals import hidden_spans, input_span
from robustcert.train.lipschitz_layers import AOLLinear
from robustcert.train.live import live_graph
from robustcert.train.nets import net_named
from robustcert.train.plain import plain
from robustcert.train.splines import (
    FixedSpline,
    LinearSpline,
)
from tests.models.spline_nets import ZIGZAG, learned_net
from tests.unit.lipschitz.graphs import Sketch
from tests.unit.train.robust_cases import generator

GRID = torch.linspace(-6.0, 6.0, 4001, dtype=torch.float64)
SEEDS = st.integers(0, 2**20)


def gentle(seed=0, count=9, reach=1.5):
    """A spline whose parameters need no projection."""
    layer = LinearSpline(count, reach).double()
    with torch.no_grad():
        rises = 2.0 * torch.rand(count - 1, generator=generator(seed)).double() - 1.0
        layer.values[1:] = layer.values[0] + (rises * layer.knots.diff()).cumsum(0)
    return layer


def test_a_spline_begins_as_the_absolute_value():
    for dtype in (torch.float32, torch.float64):
        points = GRID.to(dtype)
        found = LinearSpline().to(dtype)(points)
        torch.testing.assert_close(found, points.abs(), rtol=0.0, atol=1e-6)


def test_parameters_with_slopes_in_range_are_the_values_at_the_knots():
    layer = gentle()
    torch.testing.assert_close(layer(layer.knots), layer.values, rtol=0.0, atol=1e-14)


@given(seed=SEEDS, count=st.integers(4, 30), reach=st.sampled_from([0.1, 1.0, 7.0]))
def test_a_spline_is_linear_between_its_knots_and_goes_on_beyond_them(
    seed, count, reach
):
    layer = gentle(seed, count, reach)
    knots, values = (t.detach().numpy() for t in (layer.knots, layer.values))
    slopes = np.diff(values) / np.diff(knots)
    points = GRID.numpy()
    inside = np.interp(points, knots, values)
    before = values[0] + slopes[0] * (points - knots[0])
    after = values[-1] + slopes[-1] * (points - knots[-1])
    wanted = np.where(points < knots[0], before, inside)
    wanted = np.where(points > knots[-1], after, wanted)
    found = layer(GRID).detach().numpy()
    np.testing.assert_allclose(found, wanted, rtol=0.0, atol=1e-11)


@given(seed=SEEDS, scale=st.sampled_from([1e-6, 1.0, 1e6]))
def test_no_parameters_make_a_spline_steeper_than_1_or_move_its_mean(seed, scale):
    layer = LinearSpline().double()
    with torch.no_grad():
        noise = torch.randn(len(layer.values), generator=generator(seed)).double()
        layer.values += scale * noise
        slopes, heights = layer.line_pieces()
        moved = layer(GRID).diff().abs()
    assert (slopes.abs() <= 1.0).all()
    assert (moved <= GRID.diff() + 1e-15 * max(1.0, scale)).all()
    torch.testing.assert_close(heights.mean(), layer.values.detach().mean())


def test_a_spline_is_one_function_for_inputs_of_any_shape():
    layer = gentle()
    points = torch.randn(3, 4, 5, generator=generator(0), dtype=torch.float64)
    turned = points.permute(2, 0, 1)
    assert torch.equal(layer(turned), layer(points).permute(2, 0, 1))
    assert layer(torch.full((2,), math.nan, dtype=torch.float64)).isnan().all()


def test_gradients_of_inputs_and_parameters_are_those_of_the_function():
    layer = gentle(5)
    points = torch.randn(20, generator=generator(1), dtype=torch.float64)
    points.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, _: layer(x), (points, layer.values))


@pytest.mark.parametrize(("count", "reach"), [(3, 1.0), (9, 0.0), (9, math.inf)])
def test_a_spline_without_pieces_or_width_is_refused(count, reach):
    with pytest.raises(UsageError, match="knots"):
        LinearSpline(count, reach)


def fitted(activation, steps=400):
    """A net of constant 1 fitted to a zigzag of slopes 1 and -1, and its error."""
    g = generator(1)
    widths, layers = (1, 8, 8, 1), []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [AOLLinear(inputs, outputs, g), activation()]
    net = nn.Sequential(*layers[:-1]).double()
    inputs = torch.linspace(-1.0, 1.0, 101, dtype=torch.float64)[:, None]
    targets = ((inputs + 1.0) % 1.0 - 0.5).abs()
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(steps):
        loss = (net(inputs) - targets).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net, float(loss.detach())


def test_a_net_of_constant_1_learns_with_splines_what_it_cannot_with_relu():
    net, error = fitted(LinearSpline)
    _, stiff = fitted(nn.ReLU)
    assert error < 0.1 * stiff
    splines = [module for module in net if isinstance(module, LinearSpline)]
    for layer in splines:
        assert bool((layer.values != layer.knots.abs()).any())
        assert bool((layer.line_pieces()[0].abs() <= 1.0).all())


@given(seed=SEEDS, scale=st.sampled_from([0.0, 0.1, 10.0]))
def test_a_fixed_spline_is_the_same_function_in_plain_words(seed, scale):
    layer = LinearSpline().double()
    with torch.no_grad():
        layer.values += scale * torch.randn(21, generator=generator(seed)).double()
    fixed = layer.fixed()
    assert list(fixed.parameters()) == []
    torch.testing.assert_close(fixed(GRID), layer(GRID).detach(), rtol=0.0, atol=1e-11)


def test_writing_a_net_out_leaves_it_as_it_was():
    net = learned_net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    fixed = plain(net)
    assert all(torch.equal(before[name], net.state_dict()[name]) for name in before)
    assert isinstance(net[1], LinearSpline)
    kinds = {LinearSpline: FixedSpline, AOLLinear: nn.Linear}
    assert [type(layer) for layer in fixed] == [kinds[type(layer)] for layer in net]
    assert not {id(p) for p in fixed.parameters()} & {id(p) for p in net.parameters()}


@pytest.mark.parametrize("ending", [".ts.pt", ".pt2"])
def test_a_file_is_read_with_one_spline_a_layer_and_its_learned_slopes(
    ending, tmp_path
):
    net = net_named("spline:6,5", (4,), 3, generator(0))
    g = generator(2)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=g)
    saved = save_model(net, (4,), tmp_path / f"net{ending}")
    graph = extract(load_model(saved.path.read_bytes(), sample_shape=(4,)))
    bends = [layer for layer in graph.layers if isinstance(layer, Elementwise)]
    learned = [module for module in net if isinstance(module, LinearSpline)]
    assert [bend.activation.kind for bend in bends] == [ActivationKind.SPLINE] * 2
    for bend, layer in zip(bends, learned, strict=True):
        pieces = layer.line_pieces()[0].tolist()
        assert set(bend.activation.parameters[:-1:2]) <= set(pieces)
    inputs = 4.0 * torch.randn(50, 4, generator=g, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(
            run(graph, inputs), net.double()(inputs), rtol=0.0, atol=1e-5
        )


def test_a_plain_net_with_splines_keeps_the_net_s_function():
    net = learned_net().double()
    inputs = torch.randn(30, 6, generator=generator(1), dtype=torch.float64)
    fixed = plain(net)
    torch.testing.assert_close(fixed(inputs), net(inputs), rtol=0.0, atol=1e-12)


def test_bounds_in_training_refuse_a_learned_spline_by_name():
    graph = live_graph(net_named("spline:4", (2,), 2, generator(0)), (2,))
    start = input_span(torch.zeros(1, 2), 0.1, UNIT_BOX)
    with pytest.raises(UnsupportedLayerError, match="contraction has no interval rule"):
        hidden_spans(graph, start)


def test_intervals_in_training_hold_a_spline_that_turns_several_times():
    net = Sketch(1)
    net.act(ZIGZAG)
    net.linear(torch.eye(1, dtype=torch.float64))
    inputs = torch.tensor([[0.0], [0.5]], dtype=torch.float64)
    start = input_span(inputs, 1.5, Box(-5.0, 5.0))
    (_, span) = hidden_spans(net.graph(), start)
    points = start.low + torch.linspace(0, 1, 3001).double() * (start.high - start.low)
    truth = ZIGZAG(points)
    torch.testing.assert_close(span.low[:, 0], truth.amin(1), rtol=0.0, atol=2e-3)
    torch.testing.assert_close(span.high[:, 0], truth.amax(1), rtol=0.0, atol=2e-3)
    assert bool((span.low <= truth + 1e-12).all() & (span.high >= truth - 1e-12).all())


def test_backward_bounds_in_training_refuse_a_spline_by_name():
    net = Sketch(2)
    net.linear(3)
    net.act(ZIGZAG)
    net.linear(2)
    graph = net.graph()
    spans = hidden_spans(graph, input_span(torch.zeros(1, 2).double(), 0.1, UNIT_BOX))
    with pytest.raises(UnsupportedLayerError, match="spline has no rule for backward"):
        backward_margin_floors(graph, spans, torch.tensor([0]))
