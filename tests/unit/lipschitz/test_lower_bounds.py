"""Witnesses: what they prove is true, and what is true is found."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch

from robustcert.errors import (
    InputShapeError,
    UnsoundModelError,
    UnsupportedLayerError,
    UsageError,
)
from robustcert.graph.execute import run
from robustcert.lipschitz.bracket import measure
from robustcert.lipschitz.interface import Problem
from robustcert.lipschitz.lower.activation_search import activation_search
from robustcert.lipschitz.lower.claim import Pairs, claim, claim_anywhere
from robustcert.lipschitz.lower.data_jacobian import data_jacobian, mean_slope
from robustcert.lipschitz.lower.forward_error import outputs_with_errors
from robustcert.lipschitz.lower.jacobian import Slopes, power_step, slopes_at
from robustcert.lipschitz.lower.jacobian_ascent import jacobian_ascent
from robustcert.lipschitz.lower.pair_ascent import pair_ascent
from robustcert.lipschitz.registry import LOWER_METHODS
from robustcert.results.bound import Scope
from robustcert.results.effort import Effort
from robustcert.results.norm import Norm
from robustcert.results.threat_model import UNIT_BOX, Box
from tests.unit.lipschitz.graphs import (
    Sketch,
    absolute_value,
    problem,
    random_orthogonal,
)

BOTH = pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF])
FOUND = {
    **LOWER_METHODS,
    "jacobian_ascent": jacobian_ascent,
    "activation_search": activation_search,
}
METHODS = pytest.mark.parametrize("method", FOUND.values(), ids=FOUND)
BLIND = pytest.mark.parametrize("method", [data_jacobian, pair_ascent])
SEEING = pytest.mark.parametrize("method", [jacobian_ascent, activation_search])


def small_net(seed: int = 0, dtype=torch.float64) -> Sketch:
    net = Sketch(5, seed=seed, dtype=dtype)
    net.linear(8)
    net.act()
    net.linear(3)
    return net


def ratio(graph, bound) -> float:
    first, second = (
        torch.tensor(end, dtype=torch.float64).reshape(1, *graph.input_shape)
        for end in (bound.witness.first, bound.witness.second)
    )
    moved = (run(graph, first) - run(graph, second)).flatten()
    apart = (first - second).flatten()
    order = bound.norm.value
    return float(moved.norm(order) / apart.norm(order))


@METHODS
def test_a_deep_net_keeps_its_signal_where_the_worst_case_would_drown_it(method):
    """36 rotations in 48 dimensions move every pair by exactly its distance."""
    net = Sketch(48)
    for seed in range(36):
        net.linear(random_orthogonal(48, seed))
    graph = net.graph()
    asked = problem(graph, Norm.L2, box=UNIT_BOX)
    _, worst = outputs_with_errors(graph, asked.inputs.double())
    assert float(worst.min()) > 1.0
    assert 0.999 <= method(asked, Effort.FAST).value <= 1.0


@METHODS
@BOTH
def test_a_witness_attains_what_is_claimed_and_leaves_the_box_only_if_it_says_so(
    method, norm
):
    graph = small_net().graph()
    asked = problem(graph, norm, box=UNIT_BOX)
    bound = method(asked, Effort.FAST)
    ends = torch.tensor([bound.witness.first, bound.witness.second])
    inside = 0.0 <= float(ends.min()) <= float(ends.max()) <= 1.0
    assert inside is (bound.scope is Scope.BOX)
    assert inside or method is activation_search
    assert bound.value == bound.witness.ratio
    assert bound.value <= ratio(graph, bound) <= bound.value * (1 + 1e-6)


@METHODS
@BOTH
def test_the_same_seed_gives_the_same_witness(method, norm):
    graph = small_net().graph()
    one, two = (method(problem(graph, norm), Effort.FAST) for _ in range(2))
    assert one.witness == two.witness


@METHODS
def test_global_random_numbers_are_untouched(method):
    state = torch.get_rng_state()
    method(problem(small_net().graph()), Effort.FAST)
    assert torch.equal(state, torch.get_rng_state())


@METHODS
@BOTH
def test_without_inputs_the_search_starts_in_the_box(method, norm):
    net = Sketch(4)
    net.linear(3)
    asked = problem(net.graph(), norm, count=0)
    truth = float(torch.linalg.matrix_norm(net.layers[1].weight, norm.value))
    assert method(asked, Effort.FAST).value == pytest.approx(truth, rel=1e-6)


@METHODS
def test_images_on_the_wall_of_the_box_have_witnesses_inside(method):
    net = Sketch(1, 4, 4)
    net.flatten()
    net.linear(3)
    graph = net.graph()
    inputs = torch.zeros(3, 1, 4, 4, dtype=torch.float64)
    asked = Problem(graph, lambda x: run(graph, x), inputs, UNIT_BOX, Norm.L2)
    bound = method(asked, Effort.FAST)
    assert min(bound.witness.first + bound.witness.second) >= 0.0
    truth = float(torch.linalg.matrix_norm(net.layers[2].weight, 2))
    assert bound.value == pytest.approx(truth, rel=1e-6)


@METHODS
@BOTH
def test_kinks_do_not_fool_the_search(method, norm):
    """``x - relu(x) + relu(-x)`` is 0; its computed derivative at 0 is 1."""
    net = Sketch(2)
    eye = torch.eye(2, dtype=torch.float64)
    right = net.act(source=net.linear(eye))
    left = net.act(source=net.linear(-eye, source=0))
    net.add(net.add(0, right, weight=-1.0), left)
    graph = net.graph()
    inputs = torch.zeros(4, 2, dtype=torch.float64)
    asked = Problem(graph, lambda x: run(graph, x), inputs, Box(-1.0, 1.0), norm)
    assert method(asked, Effort.FAST).value <= 1e-9


@METHODS
def test_a_box_of_one_point_proves_nothing(method):
    graph = small_net().graph()
    asked = problem(graph, box=Box(0.5, 0.5))
    assert method(asked, Effort.FAST).value == 0.0


@SEEING
def test_methods_that_need_layers_refuse_a_model_without_them(method):
    graph = small_net().graph()
    inputs = problem(graph).inputs
    asked = Problem(None, lambda x: run(graph, x), inputs, UNIT_BOX, Norm.L2)
    with pytest.raises(UnsupportedLayerError, match="read as layers"):
        method(asked, Effort.FAST)


@BLIND
@BOTH
def test_a_float32_model_without_a_graph_gets_a_cautious_bound(method, norm):
    net = Sketch(6, dtype=torch.float32)
    net.linear(4)
    graph = net.graph()
    inputs = torch.rand(5, 6, generator=torch.Generator().manual_seed(1))
    asked = Problem(None, lambda x: run(graph, x), inputs, UNIT_BOX, norm)
    bound = method(asked, Effort.FAST)
    weight = net.layers[1].weight.double()
    truth = float(torch.linalg.matrix_norm(weight, norm.value))
    assert 0.9 * truth <= bound.value <= truth


@BLIND
def test_a_model_that_returns_nan_is_no_ground_for_a_claim(method):
    inputs = torch.rand(3, 2, generator=torch.Generator().manual_seed(1))
    asked = Problem(None, lambda x: x / (x - x), inputs, UNIT_BOX, Norm.L2)
    with pytest.raises(UnsoundModelError, match="NaN or infinity"):
        method(asked, Effort.FAST)


def test_a_pair_of_equal_points_claims_nothing():
    asked = problem(absolute_value())
    point = torch.zeros(1, 1, dtype=torch.float64)
    assert claim(asked, Pairs(point, point), "test").value == 0.0


def test_a_pair_a_hair_apart_claims_no_more_than_the_truth():
    net = Sketch(1)
    net.linear(torch.tensor([[1 / 3]], dtype=torch.float64), net.random(1) * 1e6)
    asked = problem(net.graph())
    first = torch.rand(500, 1, generator=net.generator, dtype=torch.float64)
    for hair in (1e-12, 1e-9, 1e-3):
        bound = claim(asked, Pairs(first, first + hair), "test")
        assert Fraction(bound.value) <= Fraction(float(net.layers[1].weight))


def test_a_pair_outside_the_box_proves_a_global_bound_where_it_is_asked_to():
    asked = problem(absolute_value(), box=UNIT_BOX)
    near, far = torch.tensor([[0.5]]).double(), torch.tensor([[3.0]]).double()
    outside = claim_anywhere(asked, Pairs(near, far), "test")
    assert outside.scope is Scope.GLOBAL
    assert outside.witness.second == (3.0,)
    inside = claim(asked, Pairs(near, far), "test")
    assert inside.scope is Scope.BOX
    assert inside.witness.second == (1.0,)
    assert 1.0 - 1e-12 <= min(inside.value, outside.value) <= 1.0


def test_the_mean_slope_lies_below_the_largest_and_is_that_of_a_linear_map():
    asked = problem(small_net().graph())
    largest = float(slopes_at(asked, asked.inputs).norms.max())
    assert 0.0 < mean_slope(asked, Effort.FAST) < largest
    net = Sketch(4)
    net.linear(3)
    truth = float(torch.linalg.matrix_norm(net.layers[1].weight, 2))
    assert mean_slope(problem(net.graph()), Effort.FAST) == pytest.approx(truth)


@BOTH
def test_many_outputs_are_searched_by_power_steps_that_never_overestimate(norm):
    net = Sketch(12)
    net.linear(40)
    asked = problem(net.graph(), norm)
    truth = float(torch.linalg.matrix_norm(net.layers[1].weight, norm.value))
    found = slopes_at(asked, asked.inputs).norms
    assert bool((found <= truth * (1 + 1e-9)).all())
    assert float(found.max()) >= 0.8 * truth
    many = Slopes(asked.inputs, torch.randn(8, 12, generator=net.generator), found)
    for _ in range(200):
        many = power_step(asked, asked.working_map(), many)
    if norm is Norm.L2:
        assert float(many.norms.min()) == pytest.approx(truth, rel=1e-3)


@pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF])
def test_jacobian_norms_are_exact(norm):
    net = small_net()
    asked = problem(net.graph(), norm)
    slopes = slopes_at(asked, asked.inputs)
    for point, found in zip(slopes.points, slopes.norms, strict=True):
        whole = torch.autograd.functional.jacobian(
            lambda x: run(net.graph(), x[None])[0], point
        )
        truth = float(torch.linalg.matrix_norm(whole, norm.value))
        assert float(found) == pytest.approx(truth, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_rounding_errors_in_float32_stay_within_their_running_bound(seed):
    net = Sketch(2, 6, 6, seed=seed, dtype=torch.float32)
    net.random_conv(4, padding=1)
    skip = net.act()
    net.affine(net.random(4, 1, 1), net.random(4, 1, 1))
    net.add(skip, net.random_conv(4, padding=1), weight=-1.0)
    net.average()
    net.flatten()
    net.linear(50)
    net.act()
    net.linear(7)
    inputs = net.random(20, 2, 6, 6)
    outputs, errors = outputs_with_errors(net.graph(), inputs)
    exact = run(net.graph().to(torch.float64), inputs.double())
    actual = (outputs.double() - exact).abs()
    assert bool((actual <= errors.double()).all())
    assert float(actual.max()) > 0.0
    assert float(errors.max()) <= 1e-2  # a bound that says something


def test_the_bracket_lists_refusals_and_reports_progress():
    graph = small_net().graph()
    heard = []
    inputs = problem(graph).inputs
    blind = Problem(None, lambda x: run(graph, x), inputs, UNIT_BOX, Norm.L2)
    bracket = measure(blind, Effort.FAST, heard.append)
    assert bracket.upper is None
    assert {bound.method for bound in bracket.lowers} >= {
        "data_jacobian",
        "pair_ascent",
    }
    refused = {refusal.method for refusal in bracket.refused}
    assert "spectral_product" in refused
    told = len(bracket.lowers) + len(refused)
    assert [progress.done for progress in heard] == list(range(told + 1))
    assert heard[0].note == "? <= L <= ?"
    assert heard[-1].note.endswith("<= L <= ?")
    whole = measure(problem(graph), Effort.FAST)
    assert whole.refused == ()
    assert 0.0 < whole.lower.value <= whole.upper.value < math.inf
    assert all(bound.seconds > 0.0 for bound in (*whole.lowers, *whole.uppers))


def test_a_problem_in_l1_or_of_another_shape_is_refused():
    graph = small_net().graph()
    inputs = torch.zeros(1, 5)
    with pytest.raises(UsageError, match="l1"):
        Problem(graph, lambda x: x, inputs, UNIT_BOX, Norm.L1)
    with pytest.raises(InputShapeError, match=r"\(4,\)"):
        Problem(graph, lambda x: x, torch.zeros(1, 4), UNIT_BOX, Norm.L2)
