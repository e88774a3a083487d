"""Bounds on a ball or the box: what activations see, and what is proved from it."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustcert.errors import UnsupportedLayerError, UsageError
from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.execute import run, values
from robustcert.graph.extract import extract
from robustcert.graph.layers import Elementwise, LayerGraph
from robustcert.lipschitz.lipsdp.dense import dense_program
from robustcert.lipschitz.lipsdp.multipliers import begin, scaled
from robustcert.lipschitz.lipsdp.torus.program import torus_program
from robustcert.lipschitz.local.enclosure import enclosure
from robustcert.lipschitz.local.entry_errors import (
    EntryErrors,
    StageError,
    entry_errors,
    no_errors,
)
from robustcert.lipschitz.local.intervals import Interval
from robustcert.lipschitz.local.region import Region, l2_ball, whole_box
from robustcert.lipschitz.local.relaxation import lines_around
from robustcert.lipschitz.local.slopes import slopes_on
from robustcert.lipschitz.local.verified import verified_bound, verified_covariances
from robustcert.lipschitz.upper.lipsdp_box import lipsdp_box
from robustcert.lipschitz.upper.local import local_bound
from robustcert.lipschitz.upper.propagation import sound_folded
from robustcert.models.torchscript import load_torchscript
from robustcert.results.bound import Scope
from robustcert.results.effort import Effort
from robustcert.results.norm import Norm
from robustcert.results.threat_model import UNIT_BOX, Box
from tests.models.spline_nets import ZIGZAG
from tests.unit.lipschitz.graphs import (
    RELU,
    WIDE_BOX,
    Sketch,
    problem,
    random_orthogonal,
)
from tests.unit.lipschitz.programs import bound_of, jacobian_of_graph

LEAKY = Activation(ActivationKind.LEAKY_RELU, (0.1,))
GELU = Activation(ActivationKind.GELU)
SIGMOID = Activation(ActivationKind.SIGMOID)
ACTIVATIONS = (
    RELU,
    LEAKY,
    Activation(ActivationKind.LEAKY_RELU, (-0.5,)),
    Activation(ActivationKind.LEAKY_RELU, (2.0,)),
    Activation(ActivationKind.ELU, (1.0, 1.0, 1.0)),
    Activation(ActivationKind.ELU, (1.67326, 1.0507, 1.0)),
    Activation(ActivationKind.ELU, (0.5, 1.0, 2.0)),
    SIGMOID,
    Activation(ActivationKind.TANH),
    Activation(ActivationKind.SOFTPLUS, (1.0,)),
    Activation(ActivationKind.SOFTPLUS, (3.0,)),
    Activation(ActivationKind.SILU),
    GELU,
    Activation(ActivationKind.GELU_TANH),
    Activation(ActivationKind.CLAMP, (-1.0, 1.0)),
    Activation(ActivationKind.CLAMP, (0.0, math.inf)),
    Activation(ActivationKind.HARDSIGMOID),
    Activation(ActivationKind.HARDSWISH),
    ZIGZAG,
)
EVERY_ACTIVATION = pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
STARTS = (-40.0, -8.0, -3.0, -2.5, -1.5, -1.0, -0.2, 0.0, 0.7, 1.2, 2.3, 3.0, 30.0)
WIDTHS = (1e-3, 0.3, 1.0, 3.5, 9.0, 60.0)


def intervals() -> tuple[torch.Tensor, torch.Tensor]:
    pairs = torch.cartesian_prod(
        torch.tensor(STARTS, dtype=torch.float64),
        torch.tensor(WIDTHS, dtype=torch.float64),
    )
    return pairs[:, 0], pairs.sum(dim=1)


def grid(lower, upper, count: int = 4001) -> torch.Tensor:
    """``(count, N)`` points of each interval, its ends included."""
    shares = torch.linspace(0.0, 1.0, count, dtype=torch.float64)[:, None]
    return torch.lerp(lower, upper, shares).clamp(lower, upper)


def dense_net(activation=RELU, seed=0) -> LayerGraph:
    net = Sketch(5, seed=seed)
    for _ in range(3):
        net.linear(8)
        net.act(activation)
    net.linear(3)
    return net.graph()


def conv_net(activation=RELU, seed=0) -> LayerGraph:
    net = Sketch(2, 5, 5, seed=seed)
    net.affine(net.random(2, 1, 1), net.random(2, 1, 1))
    net.random_conv(3, stride=2, padding=((1, 0), (2, 1)))
    net.act(activation)
    net.random_conv(4, padding=1, groups=1)
    net.act(activation)
    net.average(2, 1)
    net.flatten()
    net.linear(3)
    return net.graph()


def residual_net(activation=RELU, seed=0) -> LayerGraph:
    net = Sketch(2, 4, 4, seed=seed)
    start = net.random_conv(3, padding=1)
    here = net.act(activation)
    net.random_conv(3, padding=1)
    net.act(activation)
    there = net.random_conv(3, padding=1)
    net.act(activation, source=net.add(here, there, -0.5))
    net.permute(0, 2, 1)
    net.concat(len(net.layers) - 1, start)
    net.mean(1, 2)
    net.linear(2)
    return net.graph()


def pooled_net(activation=RELU, seed=0) -> LayerGraph:
    net = Sketch(1, 6, 6, seed=seed)
    net.random_conv(2, padding=1)
    net.act(activation)
    net.maximum(kernel=3, stride=2, padding=1)
    net.flatten()
    net.linear(6)
    net.act(activation)
    net.linear(2)
    return net.graph()


NETS = pytest.mark.parametrize(
    "make", [dense_net, conv_net, residual_net, pooled_net], ids=lambda f: f.__name__
)
NETS_WITHOUT_POOLS = pytest.mark.parametrize(
    "make", [dense_net, conv_net, residual_net], ids=lambda f: f.__name__
)
"""A max pooling becomes rectifiers, which keep all their slopes everywhere."""
SOME_ACTIVATIONS = pytest.mark.parametrize(
    "activation", [RELU, LEAKY, GELU, SIGMOID], ids=lambda a: a.kind.value
)


def centre_of(graph: LayerGraph, seed: int = 7) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    point = torch.randn(graph.input_shape, generator=generator, dtype=torch.float64)
    return 0.3 * point


def points_in(region: Region, count: int, seed: int = 0) -> torch.Tensor:
    """``(count, *shape)``, half of them on the region's surface."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(
        (count, *region.centre.shape), generator=generator, dtype=torch.float64
    )
    if region.norm is Norm.L2:
        lengths = torch.linalg.vector_norm(draw.flatten(1), dim=1)
        draw = draw / lengths.reshape(-1, *(1,) * region.centre.ndim)
    else:
        draw = draw.sign()
    shares = torch.rand(count, generator=generator, dtype=torch.float64)
    shares[::2] = 1.0 - 1e-12
    moved = draw * shares.reshape(-1, *(1,) * region.centre.ndim) * region.radius
    points = region.centre + moved
    if region.box is not None:
        points = points.clamp(region.box.low, region.box.high)
    return points


def steepest_pair(graph: LayerGraph, region: Region) -> float:
    """The largest ratio among near and far pairs of sampled points."""
    points = points_in(region, 400)
    near = torch.lerp(points, points.roll(1, 0), 1e-4)
    firsts, seconds = points.repeat(2, *(1,) * region.centre.ndim), points.roll(1, 0)
    seconds = torch.cat([seconds, near])
    moved = (run(graph, firsts) - run(graph, seconds)).norm(dim=1)
    return float((moved / (firsts - seconds).flatten(1).norm(dim=1)).max())


@EVERY_ACTIVATION
def test_no_chord_of_an_activation_is_steeper_or_flatter_than_its_slopes(activation):
    lower, upper = intervals()
    low, high = slopes_on(activation, lower, upper)
    points = grid(lower, upper)
    for apart in (1, 7, 400, 4000):
        rise = activation(points[apart:]) - activation(points[:-apart])
        run_ = points[apart:] - points[:-apart]
        size = 1.0 + points[apart:].abs() + activation(points[apart:]).abs()
        cut = 3e-9 if activation.kind is ActivationKind.SOFTPLUS else 0.0
        slack = (1e-14 * size + cut) / run_
        assert bool((rise / run_ <= high + slack).all())
        assert bool((rise / run_ >= low - slack).all())


@EVERY_ACTIVATION
def test_slopes_on_an_interval_are_attained_there(activation):
    lower, upper = intervals()
    low, high = slopes_on(activation, lower, upper)
    points = grid(lower, upper).requires_grad_()
    (slopes,) = torch.autograd.grad(activation(points).sum(), points)
    inner = slopes[1:-1]  # a kink at an end belongs to the other side
    step = (upper - lower) / 4000.0
    assert bool((inner.amax(dim=0) >= high - 5.0 * step - 1e-9).all())
    assert bool((inner.amin(dim=0) <= low + 5.0 * step + 1e-9).all())
    assert bool((low <= high).all())


@EVERY_ACTIVATION
def test_slopes_without_an_interval_are_those_of_the_whole_line(activation):
    everywhere = torch.tensor([math.inf], dtype=torch.float64)
    low, high = slopes_on(activation, -everywhere, everywhere)
    assert float(low) == pytest.approx(activation.slopes[0], abs=1e-13)
    assert float(high) == pytest.approx(activation.slopes[1], abs=1e-13)


@pytest.mark.parametrize(
    ("low", "high", "slopes"),
    [(0.0, 2.0, (1, 1)), (-2.0, 0.0, (0, 0)), (-1e-300, 1e-300, (0, 1))],
)
def test_a_rectifier_that_never_switches_has_one_slope_exactly(low, high, slopes):
    ends = (torch.tensor([end], dtype=torch.float64) for end in (low, high))
    assert tuple(float(slope) for slope in slopes_on(RELU, *ends)) == slopes


def test_slopes_keep_the_digits_of_their_parameters():
    one = torch.ones(1, dtype=torch.float64)
    low, high = slopes_on(LEAKY, -one, -one)
    assert float(low) == float(high) == 0.1


@EVERY_ACTIVATION
def test_an_activation_stays_between_its_lines(activation):
    lower, upper = intervals()
    lines = lines_around(activation, Interval(lower, upper))
    points = grid(lower, upper)
    truth = activation(points)
    cut = 3e-9 if activation.kind is ActivationKind.SOFTPLUS else 0.0
    slack = 1e-14 * (1.0 + points.abs() + truth.abs()) + cut
    below = lines.below_slope * points + lines.below_shift
    above = lines.above_slope * points + lines.above_shift
    assert bool((below <= truth + slack).all())
    assert bool((truth <= above + slack).all())


@pytest.mark.parametrize("activation", [GELU, SIGMOID], ids=lambda a: a.kind.value)
def test_lines_of_a_smooth_activation_close_in_with_the_square_of_the_width(activation):
    gaps = []
    for width in (1e-2, 1e-3):
        low = torch.full((1,), 0.4, dtype=torch.float64)
        lines = lines_around(activation, Interval(low, low + width))
        gaps.append(float(lines.above_shift - lines.below_shift))
    assert gaps[1] == pytest.approx(gaps[0] / 100.0, rel=0.05)


@NETS
@SOME_ACTIVATIONS
@pytest.mark.parametrize("radius", [0.05, 0.7])
def test_sampled_inputs_never_leave_the_enclosure(make, activation, radius):
    graph = make(activation)
    for region in (
        l2_ball(centre_of(graph), radius),
        l2_ball(centre_of(graph).clamp(-0.5, 0.5), radius, Box(-0.5, 0.5)),
        whole_box(graph.input_shape, Box(-radius, radius)),
    ):
        enclosed = enclosure(graph, region, {})
        seen = values(graph, points_in(region, 300))
        for layer in graph.layers:
            if isinstance(layer, Elementwise):
                bounds, before = enclosed[layer.name], seen[layer.inputs[0]]
                assert bool((before >= bounds.low - 1e-12).all())
                assert bool((before <= bounds.high + 1e-12).all())


def test_the_first_activation_behind_affine_layers_is_enclosed_exactly():
    net = Sketch(4)
    net.affine(2.0, -1.0)
    net.linear(6)
    net.linear(5)
    net.act()
    graph = net.graph()
    region = l2_ball(centre_of(graph), 3.0)
    (bounds,) = enclosure(graph, region, {}).values()
    first, second = graph.layers[2], graph.layers[3]
    reach = 3.0 * (second.weight @ first.weight * 2.0).norm(dim=1)
    middle = values(graph, region.centre[None])[3]
    is_open = (bounds.low < 0.0) & (bounds.high > 0.0)
    assert bool(is_open.any())
    assert torch.allclose(bounds.low[is_open], (middle - reach)[is_open], atol=1e-12)
    assert torch.allclose(bounds.high[is_open], (middle + reach)[is_open], atol=1e-12)


def test_backward_substitution_sees_that_a_difference_cancels():
    """``relu(x + 9) - relu(x + 8) = 1`` for x in [-1, 1]; intervals give [-1, 3]."""
    net = Sketch(1)
    one, shifts = torch.ones(2, 1).double(), torch.tensor([9.0, 8.0]).double()
    net.linear(one, shifts)
    net.act()
    net.linear(torch.tensor([[1.0, -1.0]]).double())
    net.act()
    graph = net.graph()
    bounds = enclosure(graph, whole_box((1,), WIDE_BOX), {})["elementwise4"]
    assert float(bounds.low) == pytest.approx(1.0)
    assert float(bounds.high) == pytest.approx(1.0)


@NETS
@SOME_ACTIVATIONS
@pytest.mark.parametrize("radius", [0.01, 0.3, 2.0])
def test_no_pair_in_the_ball_moves_apart_faster_than_the_local_bound(
    make, activation, radius
):
    graph = make(activation, seed=3)
    region = l2_ball(centre_of(graph), radius)
    bound = local_bound(graph, region, 0.0)
    assert bound.scope is Scope.BALL
    assert steepest_pair(graph, region) <= bound.value * (1 + 1e-9)
    assert math.isfinite(bound.value)


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**16),
    activation=st.sampled_from(ACTIVATIONS),
    radius=st.sampled_from([1e-3, 0.1, 1.0]),
)
def test_no_pair_in_ball_and_box_moves_apart_faster_than_the_local_bound(
    seed, activation, radius
):
    graph = dense_net(activation, seed)
    centre = centre_of(graph, seed).clamp(WIDE_BOX.low, WIDE_BOX.high)
    region = l2_ball(centre, radius, WIDE_BOX)
    bound = local_bound(graph, region, 0.0).value
    cut = 1e-6 if activation.kind is ActivationKind.SOFTPLUS else 0.0
    assert steepest_pair(graph, region) <= bound * (1 + 1e-7) + cut


@NETS_WITHOUT_POOLS
@pytest.mark.parametrize("activation", [RELU, LEAKY], ids=lambda a: a.kind.value)
def test_the_bound_of_a_shrinking_ball_becomes_the_norm_of_the_jacobian(
    make, activation
):
    graph = make(activation)
    centre = centre_of(graph)
    truth = float(torch.linalg.matrix_norm(jacobian_of_graph(graph, centre), ord=2))
    value = local_bound(graph, l2_ball(centre, 1e-9), 0.0).value
    assert truth * (1 - 1e-12) <= value <= truth * (1 + 1e-6)


@pytest.mark.parametrize("activation", [GELU, SIGMOID], ids=lambda a: a.kind.value)
def test_a_smooth_net_is_nearly_its_jacobian_on_a_small_ball(activation):
    graph = dense_net(activation)
    centre = centre_of(graph)
    truth = float(torch.linalg.matrix_norm(jacobian_of_graph(graph, centre), ord=2))
    value = local_bound(graph, l2_ball(centre, 1e-6), 0.0).value
    assert truth <= value <= truth * (1 + 1e-3)


@pytest.mark.parametrize("make", [dense_net, conv_net], ids=lambda f: f.__name__)
def test_best_local_bounds_grow_with_the_ball_up_to_the_global_one(make):
    graph = make()
    centre = centre_of(graph)
    found = [
        local_bound(graph, l2_ball(centre, radius), 20.0).value
        for radius in (0.0, 0.1, 0.5, 1.5, 1e4)
    ]
    for smaller, larger in itertools.pairwise(found):
        assert smaller <= larger * (1 + 1e-4)
    anywhere = dense_program(sound_folded(graph))
    assert found[-1] <= bound_of(anywhere, begin(anywhere, scaled))
    assert found[0] < 0.7 * found[-1]


def test_a_ball_of_radius_zero_has_a_bound():
    graph = dense_net()
    assert local_bound(graph, l2_ball(centre_of(graph), 0.0), 0.0).value > 0.0


def test_a_net_that_is_constant_on_the_ball_has_bound_zero():
    net = Sketch(3)
    net.linear(torch.eye(3).double(), torch.full((3,), -5.0).double())
    net.act()
    net.linear(2)
    region = l2_ball(torch.zeros(3), 1.0)
    assert local_bound(net.graph(), region, 0.0).value == 0.0
    assert local_bound(net.graph(), l2_ball(torch.zeros(3), 9.0), 0.0).value > 0.0


@pytest.mark.parametrize(
    ("centre", "radius"), [(0.5, -1.0), (0.5, math.inf), (2.0, 1.0), (math.nan, 1.0)]
)
def test_a_region_without_a_radius_or_off_the_box_is_refused(centre, radius):
    with pytest.raises(UsageError):
        l2_ball(torch.full((2,), centre), radius, UNIT_BOX)


def test_a_box_in_which_no_unit_switches_is_a_linear_map():
    net = Sketch(4)
    weight, head = net.random(6, 4), net.random(3, 6)
    net.linear(weight, torch.full((6,), 50.0).double())
    net.act()
    net.linear(head)
    bound = lipsdp_box(problem(net.graph(), box=UNIT_BOX), Effort.FAST)
    truth = float(torch.linalg.matrix_norm(head @ weight, ord=2))
    assert truth * (1 - 1e-12) <= bound.value <= truth * (1 + 1e-9)
    assert bound.scope is Scope.BOX
    assert bound.method == "lipsdp_box"


@NETS
@SOME_ACTIVATIONS
def test_no_pair_in_the_box_moves_apart_faster_than_the_bound_of_the_box(
    make, activation
):
    graph = make(activation)
    bound = local_bound(graph, whole_box(graph.input_shape, UNIT_BOX), 0.0)
    region = whole_box(graph.input_shape, UNIT_BOX)
    assert steepest_pair(graph, region) <= bound.value * (1 + 1e-9)
    assert bound.scope is Scope.BOX


def test_the_box_method_refuses_other_norms_and_large_nets_by_name():
    with pytest.raises(UnsupportedLayerError, match="l2"):
        lipsdp_box(problem(dense_net(), Norm.LINF), Effort.FAST)
    net = Sketch(1, 60, 60)
    net.random_conv(1, padding=1)
    net.act()
    net.flatten()
    net.linear(2)
    with pytest.raises(UnsupportedLayerError, match="3600 units"):
        lipsdp_box(problem(net.graph()), Effort.FAST)


@NETS_WITHOUT_POOLS
@SOME_ACTIVATIONS
def test_the_proved_bound_lies_a_little_above_the_computed_one(make, activation):
    graph = sound_folded(make(activation))
    program = dense_program(graph)
    multipliers = begin(program, scaled)
    computed = bound_of(program, multipliers)
    proved = verified_bound(program, multipliers, entry_errors(graph, {}, program))
    assert computed < proved <= computed * (1 + 1e-8)


def test_a_chain_of_orthogonal_matrices_is_proved_to_have_constant_one():
    net = Sketch(12)
    for seed in range(6):
        net.linear(random_orthogonal(12, seed))
        net.act()
    net.linear(random_orthogonal(12, 9))
    program = dense_program(net.graph())
    proved = verified_bound(program, begin(program, scaled), no_errors(program))
    assert 1.0 <= proved <= 1.0 + 1e-8


@settings(max_examples=25)
@given(seed=st.integers(0, 2**16), exponent=st.integers(-7, -1))
def test_what_is_proved_is_no_smaller_than_exact_arithmetic_gives(seed, exponent):
    """Badly scaled weights, and multipliers that leave only ``10^exponent`` of room."""
    net = Sketch(3, seed=seed)
    scales = torch.tensor([1e-6, 1.0, 1e4, 10.0], dtype=torch.float64)
    net.linear(net.random(4, 3) * scales[:, None])
    net.act()
    net.linear(net.random(4, 4) / scales)
    net.act()
    net.linear(net.random(1, 4))
    program = dense_program(net.graph())
    barely = 0.5 * (1.0 + 10.0**exponent)  # scaled() is twice what is needed
    multipliers = [barely * t for t in begin(program, scaled)]
    proved = verified_covariances(program, multipliers, no_errors(program))
    if proved is None:
        return  # the second layer's are not feasible any more
    assert Fraction(float(proved[-1])) >= _exact_square(program, multipliers)


def _exact_square(program, multipliers) -> Fraction:
    """The covariance ``(1, 1)`` of the outputs of a chain, in rational arithmetic."""
    start = _rational(program.start[0, 0])
    covariance = _times(start, _transposed(start))
    for stage, chosen in zip(program.stages, multipliers, strict=True):
        gap = [[-entry / 4 for entry in row] for row in covariance]
        for unit, value in enumerate(chosen.tolist()):
            gap[unit][unit] += Fraction(value)
        gain = [
            [entry * Fraction(t) for entry, t in zip(row, chosen.tolist(), strict=True)]
            for row in _rational(stage.spread[0, 0])
        ]
        covariance = _times(gain, _solved(gap, _transposed(gain)))
    return covariance[0][0]


def _rational(matrix):
    return [[Fraction(entry) for entry in row] for row in matrix.tolist()]


def _transposed(matrix):
    return [list(column) for column in zip(*matrix, strict=True)]


def _times(left, right):
    columns = _transposed(right)
    return [
        [sum(a * b for a, b in zip(row, column, strict=True)) for column in columns]
        for row in left
    ]


def _solved(matrix, right):
    """``matrix^-1 right`` by Gauss-Jordan elimination."""
    rows = [[*a, *b] for a, b in zip(matrix, right, strict=True)]
    for pivot in range(len(rows)):
        rows[pivot] = [entry / rows[pivot][pivot] for entry in rows[pivot]]
        for other in range(len(rows)):
            if other != pivot:
                factor = rows[other][pivot]
                rows[other] = [
                    a - factor * b
                    for a, b in zip(rows[other], rows[pivot], strict=True)
                ]
    return [row[len(matrix) :] for row in rows]


def test_multipliers_that_are_too_small_prove_nothing():
    program = dense_program(dense_net())
    multipliers = [0.1 * t for t in begin(program, scaled)]
    assert math.isinf(verified_bound(program, multipliers, no_errors(program)))


@pytest.mark.parametrize("make", [dense_net, residual_net], ids=lambda f: f.__name__)
def test_a_proved_bound_covers_every_program_within_its_errors(make):
    graph = sound_folded(make(LEAKY))
    program = dense_program(graph)
    multipliers = begin(program, scaled)
    share = 1e-5
    errors = EntryErrors(
        share * program.start[0, 0].abs(),
        tuple(
            StageError(
                share * stage.spread[0, 0].abs(),
                None if stage.carry is None else share * stage.carry[0, 0].abs(),
            )
            for stage in program.stages
        ),
    )
    proved = verified_bound(program, multipliers, errors)
    program.start.mul_(1.0 + share)
    for stage in program.stages:
        stage.spread.mul_(1.0 + share)
        if stage.carry is not None:
            stage.carry.mul_(1.0 + share)
    moved = bound_of(program, multipliers)
    assert moved is not None
    assert moved <= proved <= moved * 1.2


def test_entry_errors_cover_what_the_order_of_sums_changes():
    """Cancelling branches: the entry is rounding alone, its error is as large."""
    net = Sketch(3)
    weight = net.random(3, 3)
    one = net.linear(weight)
    two = net.linear(weight * (1.0 + 2.0**-50), source=0)
    net.act(source=net.add(one, two, -1.0))
    net.linear(2)
    graph = net.graph()
    program = dense_program(graph)
    errors = entry_errors(graph, {}, program)
    lift = 2.0 ** program.exponents[0]
    unit = lift * weight.abs() * 2.0**-53
    assert bool((errors.start >= 2.0 * unit).all())
    assert bool((errors.start <= 1e4 * unit).all())


def test_a_torus_program_is_left_to_the_checker():
    net = Sketch(1, 6, 6)
    net.random_conv(2, padding=1)
    net.act()
    net.flatten()
    net.linear(2)
    program = torus_program(net.graph())
    multipliers = begin(program, scaled)
    with pytest.raises(UnsupportedLayerError, match="torus"):
        verified_bound(program, multipliers, EntryErrors(torch.zeros(0), ()))


@pytest.mark.data
def test_a_trained_net_is_fifteen_times_flatter_around_a_digit(trained):
    data = (trained / "models" / "mnist_mlp_6x100.ts.pt").read_bytes()
    graph = extract(load_torchscript(data))
    generator = torch.Generator().manual_seed(0)
    centre = torch.rand(graph.input_shape, generator=generator).double()
    bound = local_bound(graph, l2_ball(centre, 0.1, UNIT_BOX), 0.0).value
    slope = torch.linalg.matrix_norm(
        jacobian_of_graph(graph.to(torch.float64), centre), 2
    )
    assert float(slope) <= bound <= 190.0 / 5.0
