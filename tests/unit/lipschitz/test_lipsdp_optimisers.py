"""Both optimisers of LipSDP on nets whose optimum is known, and on trained ones."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from robustcert.graph.extract import extract
from robustcert.lipschitz.lipsdp.compile import compiled
from robustcert.lipschitz.lipsdp.dense import dense_program
from robustcert.lipschitz.lipsdp.multipliers import begin, flat, scaled
from robustcert.lipschitz.lipsdp.propagate import (
    chosen_covariance,
    output_covariance,
)
from robustcert.lipschitz.lipsdp.search.first_order import first_order
from robustcert.lipschitz.lipsdp.search.iterate import Deadline, Iterate
from robustcert.lipschitz.lipsdp.search.lbfgs import Point, descended
from robustcert.lipschitz.lipsdp.search.minimise import RESERVE, minimised
from robustcert.lipschitz.lipsdp.search.second_order import (
    has_second_order,
    second_order,
)
from robustcert.lipschitz.lipsdp.search.work import newton_work
from robustcert.lipschitz.lipsdp.torus.program import hybrid_program
from robustcert.lipschitz.upper.propagation import sound_folded
from robustcert.models.torchscript import load_torchscript
from tests.unit.lipschitz.graphs import Sketch, absolute_value, random_orthogonal
from tests.unit.lipschitz.lipsdp_nets import PROGRAMS, chain, layers, strided
from tests.unit.lipschitz.programs import bound_of

NEVER = Deadline(math.inf)


def ignore(iterate):
    """Hears an iterate and forgets it."""


def at(program, multipliers):
    """The point with these multipliers."""
    covariance = output_covariance(program, multipliers)
    value = math.inf if covariance is None else bound_of(program, multipliers)
    return Iterate(tuple(multipliers), value, None, 0)


def begun(program, choose=scaled):
    return at(program, begin(program, choose))


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def minimum(program):
    return minimised(program, math.inf, ignore)


def test_the_absolute_value_is_found_to_be_1_lipschitz():
    found = minimum(dense_program(absolute_value()))
    assert 1.0 <= found.value <= 1.0 + 1e-5


def test_the_bound_of_diagonal_layers_is_the_largest_product():
    diagonals = torch.tensor([[1.0, 2.0, 3.0], [5.0, -1.0, 0.1], [2.0, 7.0, 0.1]])
    found = minimum(layers(*map(torch.diag, diagonals.double())))
    assert found.value == pytest.approx(14.0, rel=1e-5)
    assert found.value >= 14.0 * (1.0 - 1e-12)


def test_orthogonal_layers_are_1_lipschitz():
    found = minimum(layers(*(random_orthogonal(6, seed) for seed in range(3))))
    assert found.value == pytest.approx(1.0, rel=1e-5)


def test_a_chain_of_single_units_has_the_product_of_its_weights():
    weights = [torch.tensor([[weight]]).double() for weight in (2.0, -3.0, 0.5)]
    assert minimum(layers(*weights)).value == pytest.approx(3.0, rel=1e-5)


def test_a_linear_net_has_its_spectral_norm_without_a_gap():
    weight = random(3, 5)
    found = minimum(layers(weight))
    assert found.multipliers == ()
    assert found.gap == 0.0
    assert found.value == pytest.approx(float(torch.linalg.matrix_norm(weight, 2)))


@pytest.mark.parametrize("zero", [0, 1, 2])
def test_a_constant_net_has_value_0_with_positive_multipliers(zero):
    weights = [random(6, 5), random(4, 6), random(2, 4)]
    weights[zero] = torch.zeros_like(weights[zero])
    found = minimum(layers(*weights))
    assert found.value == 0.0
    assert found.gap == 0.0
    assert all(bool((part > 0.0).all()) for part in found.multipliers)


def test_units_that_hear_nothing_add_nothing():
    first, second, third = random(8, 5), random(6, 8, seed=1), random(3, 6, seed=2)
    first[2:5] = 0.0
    heard = [0, 1, 5, 6, 7]
    full = minimum(layers(first, second, third))
    reduced = minimum(layers(first[heard], second[:, heard], third))
    assert full.value == pytest.approx(reduced.value, rel=1e-5)


def test_layers_of_rank_1_are_bounded_by_their_best_multipliers():
    weights = random(6, 1) @ random(1, 5), random(4, 1) @ random(1, 6), random(2, 4)
    found = minimum(layers(*weights))
    assert found.gap < 1e-5


def test_rescaled_units_have_the_same_optimum():
    weights = random(7, 5), random(6, 7, seed=1), random(3, 6, seed=2)
    scales = torch.logspace(-6, 6, 7, dtype=torch.float64)
    rescaled = weights[0] * scales[:, None], weights[1] / scales, weights[2]
    expected = minimum(layers(*weights)).value
    assert minimum(layers(*rescaled)).value == pytest.approx(expected, rel=2e-5)


def test_weights_far_from_1_change_the_bound_by_their_factor_alone():
    weights = random(7, 5), random(6, 7, seed=1), random(3, 6, seed=2)
    expected = minimum(layers(*weights)).value
    scaled_ = weights[0] * 1e100, weights[1] * 1e-150, weights[2] * 1e200
    assert minimum(layers(*scaled_)).value == pytest.approx(expected * 1e150, rel=2e-5)


def test_a_layer_whose_slopes_are_all_known_needs_no_multipliers():
    net = Sketch(5)
    net.linear(6)
    net.act()
    net.linear(4)
    net.act()
    net.linear(3)
    graph = net.graph()
    ones = torch.ones(6, dtype=torch.float64)
    program = dense_program(graph, {graph.layers[2].name: (ones, ones)})
    assert program.units == (0, 4)
    joined = layers(
        graph.layers[3].weight @ graph.layers[1].weight, net.layers[5].weight
    )
    assert minimum(program).value == pytest.approx(minimum(joined).value, rel=1e-5)


@pytest.mark.parametrize("build", PROGRAMS.values(), ids=PROGRAMS)
def test_newton_ends_within_its_gap_and_gradients_find_nothing_lower(build):
    program = build()
    start = begun(program)
    newton = second_order(program, start, NEVER, ignore)
    assert newton.gap < 1e-5
    assert newton.value == pytest.approx(
        bound_of(program, newton.multipliers), rel=1e-9
    )
    gradients = first_order(program, start, Deadline.after(3.0), ignore)
    assert gradients.gap is None
    assert gradients.value >= newton.value * (1.0 - newton.gap) * (1.0 - 1e-12)
    assert gradients.value <= newton.value * 1.01


@pytest.mark.parametrize("outputs", [1, 2])
def test_nets_with_few_outputs_reach_an_optimum_on_the_boundary(outputs):
    """There K is singular, and a weak barrier on it would end far above."""
    program = layers(
        random(20, 10), random(15, 20, seed=1), random(outputs, 15, seed=2)
    )
    newton = second_order(program, begun(program), NEVER, ignore)
    assert newton.gap < 1e-5
    close = first_order(program, newton, Deadline.after(2.0), ignore)
    assert close.value == pytest.approx(newton.value, rel=1e-5)


@pytest.mark.parametrize("seed", [1, 24, 27])
def test_newton_leaves_the_boundary_of_a_torus_that_a_weak_barrier_clings_to(seed):
    net = Sketch(2, 6, 6, seed=seed)
    here = len(net.layers) - 1
    net.random_conv(2, padding=1)
    net.add(here, net.act(), -1.0)
    net.maximum(kernel=3, stride=1, padding=1)
    net.random_conv(4, stride=2, padding=((1, 2), (0, 2)))
    net.act()
    net.mean(1, 2)
    net.linear(2)
    program = compiled(sound_folded(net.graph()))
    assert program.torus
    assert minimum(program).gap < 1e-5


def test_no_gap_on_the_way_reaches_above_the_optimum():
    program = strided()
    heard = []
    best = second_order(program, begun(program), NEVER, heard.append)
    gaps = [iterate for iterate in heard if iterate.gap is not None]
    assert gaps
    assert all(i.value * (1.0 - i.gap) <= best.value for i in gaps)


@pytest.mark.parametrize("method", [first_order, second_order])
def test_each_point_that_is_heard_is_better_and_gives_the_bound_it_claims(method):
    program = strided()
    heard = []
    method(program, begun(program, flat), Deadline.after(2.0), heard.append)
    values = [iterate.value for iterate in heard]
    assert len(values) > 3
    assert values == sorted(values, reverse=True)
    for iterate in heard[:: len(heard) // 4]:
        expected = bound_of(program, iterate.multipliers)
        assert iterate.value == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("method", [first_order, second_order])
def test_without_time_the_start_is_returned(method):
    program = chain()
    start = begun(program, flat)
    found = method(program, start, Deadline.after(-1.0), ignore)
    assert found.value == pytest.approx(start.value)


@pytest.mark.parametrize("method", [first_order, second_order])
def test_a_start_below_the_covariance_is_handed_back(method):
    program = chain()
    small = at(program, [1e-3 * part for part in begin(program, flat)])
    assert method(program, small, NEVER, ignore).value == math.inf


def test_newton_takes_the_same_way_twice():
    program = strided()
    first, second = (
        second_order(program, begun(program), NEVER, ignore) for _ in range(2)
    )
    assert first.value == second.value
    assert first.steps == second.steps


@pytest.mark.parametrize(
    "program",
    [dense_program(absolute_value()), layers(random(9, 6), random(1, 9, seed=1))],
    ids=["absolute", "one-output"],
)
def test_the_multipliers_keep_a_reserve_to_the_boundary(program):
    found = minimum(program)
    margins = []

    def choose(stage, inputs):
        multipliers = found.multipliers[stage]
        roots = multipliers.rsqrt()
        balanced = 0.25 * inputs * roots[:, None] * roots
        margins.append(1.0 - float(torch.linalg.eigvalsh(balanced).max()))
        return multipliers

    chosen_covariance(program, choose)
    assert min(margins) >= 0.99 * RESERVE
    assert found.value == pytest.approx(bound_of(program, found.multipliers))


def test_a_program_taken_apart_into_positions_is_left_to_gradients():
    net = Sketch(1, 6, 6)
    net.random_conv(2, padding=1, stride=2)
    net.act()
    net.random_conv(3, padding=1)
    net.act()
    net.flatten()
    net.linear(2)
    graph = net.graph()
    program = hybrid_program(graph, graph.layers[4].name)
    assert not has_second_order(program)
    found = minimised(program, 2.0, ignore)
    start = min(bound_of(program, begin(program, choice)) for choice in (flat, scaled))
    assert found.gap is None
    assert found.value < start


def test_wider_nets_cost_newton_more_and_huge_ones_too_much():
    small = layers(random(20, 10), random(3, 20))
    wide = layers(random(200, 10), random(3, 200))
    assert newton_work(small) < newton_work(wide) < math.inf
    huge = torch.zeros(1, dtype=torch.float64)
    stage = wide.stages[0]
    spread = huge.expand(1, 1, 3, 20000)
    acted = torch.arange(20000)
    program = replace(wide, stages=(replace(stage, acted=acted, spread=spread),))
    assert newton_work(program) == math.inf


def test_a_program_moves_to_another_device_whole():
    moved = strided().to(torch.device("meta"))
    assert moved.start.device.type == "meta"
    assert {stage.spread.device.type for stage in moved.stages} == {"meta"}
    assert {stage.acted.device.type for stage in moved.stages} == {"meta"}


def test_descent_turns_back_where_there_is_no_value():
    """``x - log x`` for x > 0 in each coordinate: the minimum is at 1."""

    def function(place):
        if bool((place <= 0.0).any()):
            return None
        height = float((place - place.log()).sum())
        return Point(place, height, 1.0 - 1.0 / place)

    start = torch.tensor([1e-2, 0.5, 30.0], dtype=torch.float64)
    found = descended(function, start, NEVER, 200)
    torch.testing.assert_close(found.place, torch.ones(3).double(), rtol=0.0, atol=1e-3)


def trained_program(folder, name, shape):
    data = (folder / "models" / f"{name}.ts.pt").read_bytes()
    return compiled(sound_folded(extract(load_torchscript(data, input_shape=shape))))


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "shape", "optimum"),
    [
        ("mnist_mlp_lipsdp", (1, 28, 28), 24.3663),
        ("mnist_mlp_6x100", (1, 28, 28), 190.0198),
    ],
)
def test_trained_nets_reach_their_optimum(trained, name, shape, optimum):
    found = minimum(trained_program(trained, name, shape))
    assert found.gap < 1e-5
    assert found.value == pytest.approx(optimum, rel=1e-5)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape", "optimum"),
    [
        ("mnist_conv_kw", (1, 28, 28), 74.278),
        ("fashion_conv_kw", (1, 28, 28), 67.757),
        ("cifar_resnet2b", (3, 32, 32), 236.054),
    ],
)
def test_trained_convolutional_nets_reach_their_optimum(trained, name, shape, optimum):
    found = minimum(trained_program(trained, name, shape))
    assert found.gap < 1e-5
    assert found.value == pytest.approx(optimum, rel=2e-5)
