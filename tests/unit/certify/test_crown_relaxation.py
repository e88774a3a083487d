"""Lines around activations, and the least step over ball and box."""

from __future__ import annotations

import pytest
import torch

from robustcert.certify.crown.balls import least_step
from robustcert.certify.crown.relaxation import lines_around, open_units
from robustcert.graph.activations import Activation, ActivationKind
from robustcert.lipschitz.local.intervals import Interval
from tests.models.spline_nets import SPLINES

PARAMETERS = {
    ActivationKind.LEAKY_RELU: [(0.1,), (-0.4,), (1.5,)],
    ActivationKind.ELU: [(1.0, 1.0, 1.0), (1.67, 1.05, 1.0), (0.5, 1.0, 2.0)],
    ActivationKind.SOFTPLUS: [(1.0,), (20.0,)],
    ActivationKind.CLAMP: [(0.0, 6.0), (-0.5, 0.7)],
    ActivationKind.SPLINE: [spline.parameters for spline in SPLINES],
}
ACTIVATIONS = [
    Activation(kind, parameters)
    for kind in ActivationKind
    for parameters in PARAMETERS.get(kind, [()])
]
SPREADS = (0.0, 1e-12, 1e-3, 0.3, 2.0, 20.0, 1e4)


def intervals() -> Interval:
    """``(1, M)``: of many widths, around many places, some at kinks and at 0."""
    generator = torch.Generator().manual_seed(0)
    places = torch.cat(
        [
            torch.randn(200, generator=generator, dtype=torch.float64) * 3.0,
            torch.tensor([-3.0, -0.5, 0.0, 0.7, 3.0, 6.0, 50.0, -50.0]).double(),
        ]
    )
    low = torch.cat([places - spread for spread in SPREADS])
    high = torch.cat([places + 0.7 * spread for spread in SPREADS])
    return Interval(low[None], high[None])


def between(source: Interval, count: int = 301) -> torch.Tensor:
    shares = torch.linspace(0.0, 1.0, count, dtype=torch.float64)[:, None, None]
    points = source.low + shares * (source.high - source.low)
    return torch.minimum(torch.maximum(points, source.low), source.high)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_lines_enclose_the_activation_on_the_whole_interval(activation):
    source = intervals()
    lines, points = lines_around(activation, source), between(source)
    values, size = activation(points), 1.0 + points.abs()
    below = lines.below_slope * points + lines.below_shift
    above = lines.above_slope * points + lines.above_shift
    assert (below <= values + 1e-14 * size).all()
    assert (above >= values - 1e-14 * size).all()


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_every_slope_of_the_freedom_holds_below(activation):
    lines, points = lines_around(activation, intervals()), between(intervals())
    if lines.freedom is None:
        assert activation.kind is not ActivationKind.RELU
        return
    values = activation(points)
    for slope in lines.freedom:
        below = slope * points + lines.below_shift
        assert (below <= values + 1e-14 * (1.0 + points.abs())).all()


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_the_line_below_is_close_to_the_highest_possible_at_the_middle(activation):
    """The highest is the lower hull of the graph, here of its values on a fine grid."""
    source = Interval(
        torch.tensor([[-4.0, -2.0, -0.6, 0.2, -3.5, -1.0]]).double(),
        torch.tensor([[-1.0, 1.5, 0.5, 2.0, 4.0, 5.0]]).double(),
    )
    lines, points = lines_around(activation, source), between(source, 201)
    values, middle = activation(points), (source.low + source.high) / 2.0
    left, right = points[:101], points[100:]
    shares = (right[None] - middle) / (right[None] - left[:, None]).clamp(min=1e-300)
    chords = shares * values[:101, None] + (1.0 - shares) * values[None, 100:]
    hull = chords[:-1, 1:].flatten(0, 1).amin(dim=0).minimum(activation(middle))
    below = lines.below_slope * middle + lines.below_shift
    widths = source.high - source.low
    if lines.freedom is not None:  # the adaptive line goes through the kink instead
        assert (below <= hull + 1e-9).all()
        return
    assert (below >= hull - 0.03 * widths).all()


def test_tangents_of_a_convex_activation_touch_it_at_the_middle():
    source = Interval(torch.tensor([[-1.0]]).double(), torch.tensor([[1.0]]).double())
    lines = lines_around(Activation(ActivationKind.SOFTPLUS, (1.0,)), source)
    assert lines.below_slope.item() == pytest.approx(0.5, abs=0.02)
    assert lines.below_shift.item() == pytest.approx(0.6931, abs=0.01)


def test_a_settled_unit_has_one_line():
    source = Interval(
        torch.tensor([[0.5, -2.0]]).double(), torch.tensor([[2.0, -0.1]]).double()
    )
    relu = Activation(ActivationKind.RELU)
    lines = lines_around(relu, source)
    assert lines.below_slope.tolist() == lines.above_slope.tolist() == [[1.0, 0.0]]
    assert lines.above_shift.tolist() == [[0.0, 0.0]]
    assert not open_units(relu, source).any()


def exact_least_step(row, falls, rises, radius):
    """By bisection on the multiplier, to the last digit that matters."""
    limits, sizes = torch.where(row > 0.0, -falls, rises), row.abs()
    if limits.norm() <= radius:
        return -(sizes * limits).sum()
    low, high = 1e-12, 1e12
    for _ in range(200):
        middle = (low * high) ** 0.5
        outside = torch.minimum(sizes / middle, limits).norm() > radius
        low, high = (middle, high) if outside else (low, middle)
    return -(sizes * torch.minimum(sizes / high, limits)).sum()


def test_the_least_step_is_sound_and_close_to_exact():
    g = torch.Generator().manual_seed(3)
    rows = torch.randn(60, 30, generator=g, dtype=torch.float64)
    falls = -torch.rand(60, 30, generator=g, dtype=torch.float64) * 0.5
    rises = torch.rand(60, 30, generator=g, dtype=torch.float64) * 0.5
    falls[:, ::3], rises[:, 1::3] = 0.0, 0.0  # at the box's faces
    radii = torch.logspace(-3, 1, 60, dtype=torch.float64)
    found = least_step(rows, falls, rises, radii)
    cases = zip(rows, falls, rises, radii, strict=True)
    exact = torch.stack([exact_least_step(*case) for case in cases])
    limits = torch.where(rows > 0.0, -falls, rises)
    box = -(rows.abs() * limits).sum(dim=1)
    ball = -radii * rows.norm(dim=1)
    assert (found <= exact * (1.0 - 1e-9)).all()
    assert (found >= torch.maximum(box, ball) * (1.0 + 1e-9)).all()
    assert (found >= exact * 1.1).all()


def test_the_least_step_of_nothing_is_zero():
    nothing = torch.zeros(2, 3, dtype=torch.float64)
    ones = torch.ones(2, 3, dtype=torch.float64)
    radii = torch.tensor([0.0, 0.5], dtype=torch.float64)
    assert (least_step(nothing, -ones, ones, radii) == 0.0).all()
    assert least_step(ones, nothing, nothing, radii).tolist() == [0.0, 0.0]
