"""Upper bounds of nets whose Lipschitz constant is known."""

from __future__ import annotations

import math

import pytest
import torch

from robustcert.errors import UnsoundModelError, UnsupportedLayerError
from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.execute import run
from robustcert.graph.layers import Layer, LayerGraph
from robustcert.lipschitz.interface import Problem
from robustcert.lipschitz.norm_table import NormTable
from robustcert.lipschitz.registry import LOWER_METHODS, UPPER_METHODS
from robustcert.lipschitz.upper.pair_bounds import pair_bounds, pairs_of_covariance
from robustcert.lipschitz.upper.pair_search import pair_bound
from robustcert.lipschitz.upper.spectral_product import layer_norms
from robustcert.results.effort import Effort
from robustcert.results.norm import Norm
from robustcert.results.threat_model import Box
from tests.unit.lipschitz.graphs import (
    Sketch,
    absolute_value,
    problem,
    random_orthogonal,
)

BOTH = pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF])


def upper(graph: LayerGraph, norm: Norm = Norm.L2) -> float:
    return UPPER_METHODS["spectral_product"](problem(graph, norm), Effort.FAST).value


def lower(graph: LayerGraph, norm: Norm = Norm.L2) -> float:
    return max(
        method(problem(graph, norm), Effort.FAST).value
        for method in LOWER_METHODS.values()
    )


def test_a_product_of_orthogonal_layers_has_constant_one():
    net = Sketch(6)
    for seed in range(4):
        net.linear(random_orthogonal(6, seed))
        net.act()
    net.linear(random_orthogonal(6, 9))
    assert 1.0 <= upper(net.graph()) <= 1.0 + 1e-8


@BOTH
def test_a_diagonal_net_has_the_product_of_its_largest_entries(norm):
    net = Sketch(3)
    net.linear(torch.diag(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)))
    net.act()
    net.linear(torch.diag(torch.tensor([0.1, 3.0, 1.0], dtype=torch.float64)))
    assert 6.0 <= upper(net.graph(), norm) <= 6.0 * (1 + 1e-9)
    assert lower(net.graph(), norm) == pytest.approx(6.0, rel=1e-6)


@BOTH
def test_the_absolute_value_as_a_net_is_bracketed_by_one_and_two(norm):
    net = absolute_value()
    assert upper(net, norm) == pytest.approx(2.0, rel=1e-9)
    assert lower(net, norm) == pytest.approx(1.0, rel=1e-6)
    assert lower(net, norm) <= 1.0


@BOTH
def test_the_identity_as_a_net_of_two_rectifiers_is_found_to_be_one(norm):
    net = Sketch(1)
    net.linear(torch.tensor([[1.0], [-1.0]], dtype=torch.float64))
    net.act()
    net.linear(torch.tensor([[1.0, -1.0]], dtype=torch.float64))
    assert lower(net.graph(), norm) == pytest.approx(1.0, rel=1e-6)
    assert upper(net.graph(), norm) == pytest.approx(2.0, rel=1e-9)


def test_gelu_costs_its_slope():
    net = Sketch(1)
    net.act(Activation(ActivationKind.GELU))
    assert upper(net.graph()) == pytest.approx(1.1289041, abs=1e-6)
    wide = problem(net.graph(), box=Box(-3.0, 3.0))
    found = LOWER_METHODS["pair_ascent"](wide, Effort.FAST).value
    assert 1.1288 <= found <= upper(net.graph())


@BOTH
def test_a_residual_block_of_two_linear_maps_is_bounded_as_one_matrix(norm):
    net = Sketch(4)
    weight = -torch.eye(4, dtype=torch.float64)
    net.add(0, net.linear(weight))
    assert upper(net.graph(), norm) <= 1e-12  # x - x
    net = Sketch(4)
    net.add(0, net.linear(0.5 * weight))
    assert upper(net.graph(), norm) == pytest.approx(0.5, rel=1e-9)


@BOTH
def test_a_residual_block_with_an_activation_adds_its_branches(norm):
    net = Sketch(3)
    net.linear(2.0 * torch.eye(3, dtype=torch.float64))
    net.add(0, net.act(), weight=-1.0)
    assert upper(net.graph(), norm) == pytest.approx(3.0, rel=1e-9)
    assert lower(net.graph(), norm) == pytest.approx(1.0, rel=1e-6)


def test_a_concatenation_is_the_root_of_the_sum_of_squares_or_the_maximum():
    net = Sketch(2)
    first = net.act(source=net.linear(3.0 * torch.eye(2, dtype=torch.float64)))
    second = net.linear(4.0 * torch.eye(2, dtype=torch.float64), source=0)
    net.concat(first, net.act(source=second))
    assert upper(net.graph()) == pytest.approx(5.0, rel=1e-9)
    assert upper(net.graph(), Norm.LINF) == pytest.approx(4.0, rel=1e-9)
    assert lower(net.graph()) == pytest.approx(5.0, rel=1e-6)


@BOTH
def test_batch_norm_with_a_tiny_variance_is_paid_in_full(norm):
    scale = 1.0 / math.sqrt(1e-20)
    net = Sketch(3)
    net.linear(torch.eye(3, dtype=torch.float64))
    net.affine(torch.tensor([1.0, scale, 1.0]), torch.zeros(3))
    assert upper(net.graph(), norm) >= scale
    assert upper(net.graph(), norm) == pytest.approx(scale, rel=1e-8)
    assert lower(net.graph(), norm) == pytest.approx(scale, rel=1e-6)


@BOTH
def test_batch_norm_is_bounded_together_with_the_weights_it_scales(norm):
    net = Sketch(2)
    net.linear(torch.diag(torch.tensor([100.0, 1.0], dtype=torch.float64)))
    net.affine(torch.tensor([0.01, 1.0]), torch.ones(2))
    assert upper(net.graph(), norm) == pytest.approx(1.0, rel=1e-9)


@BOTH
@pytest.mark.parametrize("layers", [1, 3])
def test_the_bracket_of_a_linear_net_closes(norm, layers):
    net = Sketch(7, seed=layers)
    for size in (6, 5, 4)[-layers:]:
        net.linear(size)
    assert lower(net.graph(), norm) == pytest.approx(upper(net.graph(), norm), rel=1e-6)
    assert lower(net.graph(), norm) <= upper(net.graph(), norm)


def test_a_chain_of_linear_layers_is_bounded_as_one_matrix():
    net = Sketch(5)
    for size in (6, 7, 4):
        net.linear(size)
    weights = [layer.weight for layer in net.layers[1:]]
    truth = float(torch.linalg.matrix_norm(weights[2] @ weights[1] @ weights[0], 2))
    product = math.prod(float(torch.linalg.matrix_norm(w, 2)) for w in weights)
    assert truth <= upper(net.graph()) <= truth * (1 + 1e-8) < product


def test_the_reshaped_kernel_falls_below_a_witness_where_this_bound_does_not():
    net = Sketch(1, 16, 16)
    kernel = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    net.conv(kernel, padding=1)
    net.act()
    net.conv(kernel, padding=1)
    net.flatten()
    mistaken = float(torch.linalg.matrix_norm(kernel.reshape(1, -1), 2)) ** 2
    witnessed = lower(net.graph())
    assert mistaken < witnessed <= upper(net.graph())
    assert mistaken == pytest.approx(9.0)


@BOTH
def test_constant_nets_have_bound_zero(norm):
    net = Sketch(3)
    net.linear(4)
    net.act()
    net.linear(torch.zeros(2, 4, dtype=torch.float64), net.random(2))
    assert upper(net.graph(), norm) == 0.0
    assert lower(net.graph(), norm) == 0.0
    assert bool((pair_bounds(net.graph(), norm) == 0.0).all())


@BOTH
def test_scaling_the_last_layer_scales_the_bound(norm):
    bounds = []
    for factor in (1.0, 4.0):
        net = Sketch(4, seed=3)
        net.linear(5)
        net.act()
        net.linear(factor * net.random(3, 5))
        bounds.append(upper(net.graph(), norm))
    assert bounds[1] == pytest.approx(4.0 * bounds[0], rel=1e-12)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_no_ground_for_a_claim(value):
    net = Sketch(2)
    net.linear(torch.tensor([[1.0, value]], dtype=torch.float64))
    with pytest.raises(UnsoundModelError, match="'linear1'"):
        upper(net.graph())
    with pytest.raises(UnsoundModelError, match="'linear1'"):
        pair_bounds(net.graph(), Norm.L2)


def test_a_layer_without_a_rule_is_refused_by_name():
    net = Sketch(2)
    net.layers.append(Layer("attention", (0,), (2,)))
    with pytest.raises(UnsupportedLayerError, match="'attention'"):
        upper(net.graph())


def test_a_sum_that_copies_an_input_is_refused():
    net = Sketch(3)
    net.add(0, net.linear(1))
    with pytest.raises(UnsupportedLayerError, match="larger shape"):
        upper(net.graph())


def test_without_a_graph_there_is_no_upper_bound():
    inputs = torch.zeros(1, 2)
    blind = Problem(None, lambda x: x, inputs, problem(absolute_value()).box, Norm.L2)
    with pytest.raises(UnsupportedLayerError, match="could not be read"):
        UPPER_METHODS["spectral_product"](blind, Effort.FAST)


@BOTH
def test_pair_bounds_of_a_linear_layer_are_exact(norm):
    net = Sketch(6)
    net.linear(4)
    rows = net.layers[1].weight
    truth = torch.linalg.vector_norm(
        rows[:, None] - rows[None], ord=norm.dual.value, dim=2
    )
    bounds = pair_bounds(net.graph(), norm)
    assert bool((bounds >= truth).all())
    torch.testing.assert_close(bounds, truth, rtol=1e-12, atol=1e-12)


@BOTH
def test_pair_bounds_use_the_last_weights_and_whatever_follows_them(norm):
    net = Sketch(4)
    net.linear(6)
    net.act()
    net.linear(3)
    net.affine(torch.tensor([2.0, 2.0, 0.5]), torch.ones(3))
    first, last = net.layers[1].weight, net.layers[3].weight
    last = last * torch.tensor([2.0, 2.0, 0.5], dtype=torch.float64)[:, None]
    hidden = torch.linalg.matrix_norm(first, norm.value)
    gap = torch.linalg.vector_norm(last[0] - last[2], ord=norm.dual.value)
    bounds = pair_bounds(net.graph(), norm)
    assert float(bounds[0, 2]) == pytest.approx(float(hidden * gap), rel=1e-9)


@BOTH
def test_pair_bounds_never_exceed_what_the_whole_map_allows(norm):
    net = Sketch(4)
    net.linear(6)
    net.act()
    bounds = pair_bounds(net.graph(), norm)
    factor = 2.0 if norm is Norm.LINF else math.sqrt(2.0)
    assert float(bounds.max()) <= factor * upper(net.graph(), norm) * (1 + 1e-12)
    assert bool((bounds.diagonal() == 0.0).all())


@BOTH
def test_a_single_logit_is_compared_with_the_constant_zero(norm):
    net = Sketch(5)
    net.linear(1)
    truth = float(torch.linalg.vector_norm(net.layers[1].weight, ord=norm.dual.value))
    bounds = pair_bounds(net.graph(), norm)
    assert bounds.shape == (2, 2)
    assert bounds.tolist() == [
        [0.0, pytest.approx(truth, rel=1e-9)],
        [pytest.approx(truth, rel=1e-9), 0.0],
    ]


@BOTH
def test_pair_bounds_hold_for_a_last_residual_block(norm):
    net = Sketch(4, seed=5)
    net.linear(4)
    hidden = net.act()
    net.linear(4)
    branch = net.act()
    net.add(hidden, branch)
    net.linear(3)
    graph = net.graph()
    bounds = pair_bounds(graph, norm)
    first, second = net.random(2000, 4), net.random(2000, 4)
    gaps = run(graph, first) - run(graph, second)
    moved = (gaps[:, :, None] - gaps[:, None, :]).abs()
    apart = torch.linalg.vector_norm(first - second, ord=norm.value, dim=1)
    assert bool((moved / apart[:, None, None] <= bounds).all())


def test_identical_rows_are_never_told_apart():
    net = Sketch(3)
    row = net.random(1, 3) * 1e-170  # squares underflow
    net.linear(torch.cat([row, row, 2 * row]))
    bounds = pair_bounds(net.graph(), Norm.L2)
    assert float(bounds[0, 2]) >= float(row.abs().max())


def test_pairs_of_a_linear_map_are_distances_of_its_rows():
    net = Sketch(5, seed=2)
    rows = net.random(4, 5)
    truth = torch.cdist(rows, rows)
    bounds = pairs_of_covariance(rows @ rows.T)
    assert bool((bounds >= truth * (1 - 1e-15)).all())
    torch.testing.assert_close(bounds, truth, rtol=1e-6, atol=1e-7)
    assert bool((bounds.diagonal() == 0.0).all())


def test_logits_that_move_together_are_never_told_apart():
    ones = torch.ones(3, 3, dtype=torch.float64)
    assert float(pairs_of_covariance(ones).max()) <= 1e-7


def test_the_covariance_of_a_single_logit_is_its_pair_with_zero():
    bounds = pairs_of_covariance(torch.tensor([[9.0]], dtype=torch.float64))
    assert bounds.shape == (2, 2)
    assert float(bounds[0, 1]) == pytest.approx(3.0, rel=1e-12)


def test_known_pairs_only_ever_tighten():
    net = Sketch(4, seed=3)
    net.linear(6)
    net.act()
    net.linear(3)
    alone = pair_bounds(net.graph(), Norm.L2)
    known = torch.full((3, 3), math.inf, dtype=torch.float64)
    known[0, 1] = 0.25 * alone[0, 1]
    tightened = pair_bounds(net.graph(), Norm.L2, known=known)
    assert float(tightened[1, 0]) == float(tightened[0, 1]) == float(known[0, 1])
    assert float(tightened[0, 2]) == float(alone[0, 2])


@pytest.mark.parametrize("seconds", [0.0, 2.0])
def test_a_pair_with_multipliers_of_its_own_stays_between_witness_and_product(seconds):
    net = Sketch(4, seed=3)
    net.linear(6)
    net.act()
    net.linear(6)
    net.act()
    net.linear(3)
    graph = net.graph()
    points, others = net.random(2000, 4), net.random(2000, 4)
    moved = run(graph, points) - run(graph, others)
    apart = (points - others).norm(dim=1)
    seen = float(((moved[:, 0] - moved[:, 2]).abs() / apart).max())
    bound = pair_bound(graph, 0, 2, seconds)
    assert seen <= bound <= float(pair_bounds(graph, Norm.L2)[0, 2]) * (1 + 1e-6)


def test_a_pair_of_a_linear_map_is_the_distance_of_its_rows():
    net = Sketch(5, seed=2)
    net.linear(4)
    weight = net.layers[1].weight
    truth = float((weight[1] - weight[3]).norm())
    assert truth <= pair_bound(net.graph(), 1, 3, 0.0) <= truth * (1 + 1e-6)


class Counted(NormTable):
    """Counts the norms that had to be computed."""

    def __len__(self) -> int:
        return len(self._known)


def test_norms_are_computed_once_for_all_who_share_a_table():
    net = Sketch(3, 6, 6)
    net.random_conv(4, padding=1)
    net.act()
    net.flatten()
    net.linear(2)
    graph, table = net.graph(), Counted()
    norms = layer_norms(graph, Norm.L2, table)
    known = len(table)
    assert known == len([norm for norm in norms if norm is not None])
    bounds = pair_bounds(graph, Norm.L2, table)
    assert len(table) == known
    assert torch.equal(bounds, pair_bounds(graph, Norm.L2))


def test_the_same_weights_at_another_size_or_stride_are_another_norm():
    table, net = NormTable(), Sketch(1, 9, 9)
    kernel = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    net.conv(kernel, padding=1)
    net.conv(kernel, padding=1, source=0, stride=3)
    one, other = net.layers[1], net.layers[2]
    assert table.bound(one, (1, 9, 9), Norm.L2) == pytest.approx(
        (1.0 + 2.0 * math.cos(math.pi / 10)) ** 2, rel=1e-9
    )
    assert table.bound(other, (1, 9, 9), Norm.L2) == pytest.approx(3.0, rel=1e-9)
    assert table.bound(one, (1, 9, 9), Norm.LINF) == pytest.approx(9.0, rel=1e-9)
