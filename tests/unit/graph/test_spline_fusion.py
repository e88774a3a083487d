"""Sums of piecewise linear functions of one tensor become one spline, or stay."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch

from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.execute import run
from robustcert.graph.layers import Elementwise
from robustcert.graph.splines import with_splines
from robustcert.lipschitz.local.slopes import slopes_on
from tests.models.spline_nets import SPLINES, exactly, random_spline
from tests.unit.lipschitz.graphs import RELU, Sketch

GRID = torch.linspace(-5.0, 5.0, 2001, dtype=torch.float64)[:, None]
LEAKY = Activation(ActivationKind.LEAKY_RELU, (0.25,))
HALF_OPEN = Activation(ActivationKind.CLAMP, (-math.inf, 0.5))
CLAMP = Activation(ActivationKind.CLAMP, (-0.5, 2.0))


def summed(*activations, scales=(1.0, -2.0, 0.5, 3.0), outside=None):
    """Scaled and shifted functions of one coordinate, added up."""
    net = Sketch(1)
    root = net.linear(torch.eye(1, dtype=torch.float64))
    total = None
    for number, activation in enumerate(activations):
        moved = net.affine(scales[number], 0.25 * number, source=root)
        bent = net.act(activation, source=moved)
        part = net.affine(1.0 + number, 0.125, source=bent)
        if number == outside:
            kept = part
        total = part if total is None else net.add(total, part, -1.0)
    if outside is not None:
        net.concat(total, kept)
    return net.graph()


def bends(graph):
    return [layer for layer in graph.layers if isinstance(layer, Elementwise)]


@pytest.mark.parametrize(
    "activations",
    [(RELU, RELU, RELU), (LEAKY, CLAMP, HALF_OPEN, RELU), (CLAMP, CLAMP, CLAMP)],
    ids=len,
)
def test_a_sum_of_three_or_more_becomes_one_spline_of_the_same_values(activations):
    graph = summed(*activations)
    fused = with_splines(graph)
    (bend,) = bends(fused)
    assert bend.activation.kind is ActivationKind.SPLINE
    torch.testing.assert_close(run(fused, GRID), run(graph, GRID), rtol=0, atol=1e-12)


def test_a_spline_of_a_sum_has_the_slopes_of_the_sum_and_not_of_its_parts():
    (bend,) = bends(with_splines(summed(RELU, RELU, RELU, scales=(1.0, 1.0, 1.0))))
    # relu(z) - 2 relu(z + 1/4) - 3 relu(z + 1/2), the second difference being flat
    assert bend.activation.parameters[:-1:2] == (0.0, -3.0, -5.0, -4.0)
    assert bend.activation.parameters[1:-1:2] == (-0.5, -0.25, 0.0)
    assert bend.activation.slopes == pytest.approx((-5.0, 0.0), rel=1e-15)


def test_slopes_that_no_float_is_lie_inside_their_bounds():
    net = Sketch(1)
    root = net.linear(torch.eye(1, dtype=torch.float64))
    weights = (0.1, 1e-7, -0.3, -1e-7)
    total = net.affine(0.7, 0.0, source=root)
    for knot, weight in enumerate(weights):
        bent = net.act(RELU, source=net.affine(1.0, -float(knot), source=root))
        total = net.add(total, net.affine(weight, 0.0, source=bent))
    (bend,) = bends(with_splines(net.graph()))
    slope, rounded = Fraction(0.7), bend.activation.parameters[:-1:2]
    for knot, weight in enumerate(weights):
        slope += Fraction(weight)
        inside = torch.tensor([[knot + 0.25], [knot + 0.75]], dtype=torch.float64)
        low, high = slopes_on(bend.activation, *inside)
        assert float(low) <= slope <= float(high)
        assert float(high - low) <= 4.0 * torch.finfo(torch.float64).eps
    assert any(Fraction(number) != slope for number in rounded[-1:])


@pytest.mark.parametrize(
    "graph",
    [
        summed(RELU, RELU),
        summed(RELU, RELU, RELU, outside=1),
        summed(RELU, RELU, Activation(ActivationKind.TANH)),
        summed(RELU, RELU, RELU, scales=(1.0, 1e200, 1.0)),
        summed(RELU, RELU, RELU, scales=(1.0, 3.0, 1.0)),
    ],
    ids=["two", "read from outside", "a curve", "extreme", "a knot at a twelfth"],
)
def test_other_sums_stay_as_they_are(graph):
    assert len(bends(with_splines(graph))) == len(bends(graph))
    assert all(
        bend.activation.kind is not ActivationKind.SPLINE
        for bend in bends(with_splines(graph))
    )


@pytest.mark.parametrize("activation", [*SPLINES, *map(random_spline, range(20))])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_spline_is_computed_within_its_stated_error(activation, dtype):
    points = GRID.flatten()[::20].to(dtype)
    found = activation(points)
    sizes = activation.sizes(points.double(), found.double())
    truth = [float(exactly(activation, point)) for point in points.tolist()]
    error = (found.double() - torch.tensor(truth, dtype=torch.float64)).abs()
    assert bool((error <= 8.0 * torch.finfo(dtype).eps * sizes).all())


def test_a_spline_keeps_what_is_no_number_and_is_finite_on_flat_ends():
    flat = SPLINES[1]
    points = torch.tensor([math.nan, -math.inf, math.inf], dtype=torch.float64)
    found = flat(points)
    assert bool(found[0].isnan())
    assert found[1:].tolist() == pytest.approx([-1.0, 2.6])
