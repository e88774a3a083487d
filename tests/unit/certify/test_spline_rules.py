"""Bounds of nets with splines, against dense grids."""

from __future__ import annotations

import math

import pytest
import torch

from robustcert.certify.branching.rectifiers import rectified
from robustcert.certify.crown.relaxation import lines_around as crown_lines
from robustcert.certify.interface import CertificationTask
from robustcert.certify.interval_rules import between, propagate
from robustcert.certify.registry import CERTIFIERS
from robustcert.evaluation.load import load_model
from robustcert.graph.execute import run
from robustcert.graph.extract import extract
from robustcert.graph.layers import Elementwise
from robustcert.lipschitz.local.intervals import Interval, activation_range
from robustcert.lipschitz.local.relaxation import lines_around as local_lines
from robustcert.lipschitz.local.slopes import slopes_on
from robustcert.lipschitz.registry import UPPER_METHODS
from robustcert.results.effort import Effort
from robustcert.results.norm import Norm
from robustcert.results.threat_model import Box
from tests.models import nets
from tests.models.spline_nets import SPLINES, ZIGZAG, random_spline, written_net
from tests.unit.lipschitz.graphs import Sketch, problem

EVERY = pytest.mark.parametrize(
    "activation", [*SPLINES, *map(random_spline, range(12))]
)


def intervals():
    g = torch.Generator().manual_seed(0)
    ends = 3.0 * torch.randn(2, 1, 100, generator=g, dtype=torch.float64)
    return Interval(ends.amin(dim=0), ends.amax(dim=0))


def grid(source):
    shares = torch.linspace(0.0, 1.0, 1001, dtype=torch.float64)[:, None, None]
    points = source.low + shares * (source.high - source.low)
    return torch.minimum(points, source.high)


@EVERY
def test_ranges_and_slopes_hold_a_spline_that_may_turn_several_times(activation):
    source, points = intervals(), grid(intervals())
    values = activation(points)
    layer = Elementwise("spline", (0,), (100,), activation)
    rough = propagate(layer, [between(source.low, source.high)])
    for found in (activation_range(activation, source), rough):
        assert bool((found.low <= values + 1e-12).all())
        assert bool((found.high >= values - 1e-12).all())
    low, high = slopes_on(activation, source.low, source.high)
    rises, steps = values.diff(dim=0), points.diff(dim=0)
    rounding = 1e-14 * (1.0 + values[1:].abs() + max(map(abs, activation.slopes)))
    assert bool((rises <= high * steps + rounding).all())
    assert bool((rises >= low * steps - rounding).all())


@EVERY
@pytest.mark.parametrize("around", [crown_lines, local_lines])
def test_lines_enclose_a_spline_and_touch_it(around, activation):
    source, points = intervals(), grid(intervals())
    lines, values = around(activation, source), activation(points)
    above = lines.above_slope * points + lines.above_shift - values
    below = values - lines.below_slope * points - lines.below_shift
    step = (source.high - source.low) / 1000.0
    steepest = 2.0 * max(abs(slope) for slope in activation.slopes)
    for gap in (above, below):
        assert bool((gap >= -1e-11).all())
        assert bool((gap.amin(dim=0) <= steepest * step + 1e-11).all())


@EVERY
def test_a_spline_written_with_rectifiers_is_the_same_function(activation):
    net = Sketch(2, 3)
    net.act(activation)
    net.flatten()
    graph = net.graph()
    points = 3.0 * torch.randn(200, 2, 3, generator=net.generator, dtype=torch.float64)
    torch.testing.assert_close(
        run(rectified(graph), points), run(graph, points), rtol=0.0, atol=1e-11
    )


@pytest.mark.parametrize("name", ["spectral_product", "lipsdp", "liplt"])
def test_a_net_of_norms_and_slopes_of_1_has_a_bound_of_1(name):
    graph = extract(load_model(nets.scripted(written_net()), sample_shape=(6,)))
    assert UPPER_METHODS[name](problem(graph), Effort.FAST).value <= 1.0 + 1e-6


def test_branch_and_bound_finds_the_distance_that_a_dense_grid_finds():
    net = Sketch(2, seed=3)
    net.linear(4)
    net.act(ZIGZAG)
    net.linear(2)
    graph = net.graph()
    inputs = torch.tensor([[0.2, -0.1], [-0.7, 0.5]], dtype=torch.float64)
    labels = run(graph, inputs).argmax(dim=1)
    slack = torch.zeros(2, dtype=torch.float64)
    task = CertificationTask(graph, inputs, labels, Norm.LINF, Box(-9.0, 9.0), slack)
    certifier = CERTIFIERS["branch-and-bound"](graph, Norm.LINF)
    radii = certifier.radii(task, torch.full_like(slack, 2.0))
    steps = torch.linspace(-2.0, 2.0, 801, dtype=torch.float64)
    moves = torch.cartesian_prod(steps, steps)
    for sample, label, radius in zip(inputs, labels, radii, strict=True):
        other = run(graph, sample + moves).argmax(dim=1) != label
        sizes = moves.abs().amax(dim=1)
        nearest = float(sizes[other].min()) if bool(other.any()) else math.inf
        assert radius <= nearest
        assert radius >= 0.95 * min(nearest, 2.0) - 0.01
