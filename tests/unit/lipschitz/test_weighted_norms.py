"""Weighted constants of linear nets, where they are norms of matrices."""

from __future__ import annotations

import math

import pytest
import torch

from robustcert.errors import UsageError
from robustcert.graph.execute import run
from robustcert.lipschitz.upper.spectral_product import spectral_product
from robustcert.lipschitz.weighted import (
    with_input_map,
    with_input_weights,
    with_output_rows,
    with_output_weights,
)
from robustcert.results.effort import Effort
from robustcert.results.norm import Norm
from tests.unit.lipschitz.graphs import Sketch, problem

BOTH = pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF])


def linear_net(*, dtype=torch.float64):
    net = Sketch(5, seed=1, dtype=dtype)
    net.linear(4)
    return net, net.layers[1].weight.double()


def upper(graph, norm) -> float:
    return spectral_product(problem(graph, norm), Effort.FAST).value


def norm_of(matrix, norm: Norm) -> float:
    return float(torch.linalg.matrix_norm(matrix, norm.value))


@BOTH
def test_input_weights_divide_the_columns(norm):
    net, matrix = linear_net()
    weights = net.random(5).abs() + 0.1
    truth = norm_of(matrix / weights, norm)
    found = upper(with_input_weights(net.graph(), weights), norm)
    assert truth * (1 - 1e-15) <= found <= truth * (1 + 1e-9)


@BOTH
def test_output_weights_multiply_the_rows(norm):
    net, matrix = linear_net()
    weights = net.random(4).abs() + 0.1
    truth = norm_of(weights[:, None] * matrix, norm)
    found = upper(with_output_weights(net.graph(), weights), norm)
    assert truth * (1 - 1e-15) <= found <= truth * (1 + 1e-9)


@BOTH
def test_a_full_matrix_measures_inputs_along_its_columns(norm):
    net, matrix = linear_net()
    change = net.random(5, 3)
    truth = norm_of(matrix @ change, norm)
    found = upper(with_input_map(net.graph(), change), norm)
    assert truth * (1 - 1e-15) <= found <= truth * (1 + 1e-9)


@BOTH
def test_rows_behind_the_outputs_bound_a_difference_of_logits(norm):
    net, matrix = linear_net()
    row = torch.tensor([[1.0, -1.0, 0.0, 0.0]], dtype=torch.float64)
    truth = norm_of(row @ matrix, norm)
    found = upper(with_output_rows(net.graph(), row), norm)
    assert truth * (1 - 1e-15) <= found <= truth * (1 + 1e-9)


@BOTH
def test_weights_of_one_change_nothing(norm):
    net = Sketch(3, 6, 6)
    net.random_conv(4)
    net.act()
    net.flatten()
    net.linear(2)
    graph = net.graph()
    same = with_input_weights(graph, torch.ones(3, 6, 6))
    same = with_output_weights(same, torch.ones(2))
    assert upper(same, norm) == pytest.approx(upper(graph, norm), rel=1e-9)


def test_the_weighted_function_is_the_function_of_weighted_inputs():
    net = Sketch(2, 4, 4, seed=2)
    net.random_conv(3)
    net.act()
    net.flatten()
    net.linear(2)
    graph, inputs = net.graph(), net.random(7, 2, 4, 4)
    weights = net.random(2, 4, 4).abs() + 0.5
    torch.testing.assert_close(
        run(with_input_weights(graph, weights), inputs * weights), run(graph, inputs)
    )
    change = net.random(32, 5)
    moves = net.random(7, 5)
    torch.testing.assert_close(
        run(with_input_map(graph, change), moves),
        run(graph, (moves @ change.T).reshape(7, 2, 4, 4)),
    )


def test_weights_stay_in_double_precision_where_the_model_does_not():
    net, matrix = linear_net(dtype=torch.float32)
    weights = torch.full((5,), 1.0 / 3.0, dtype=torch.float64)
    truth = norm_of(matrix / weights, Norm.L2)
    found = upper(with_input_weights(net.graph(), weights), Norm.L2)
    assert truth * (1 - 1e-15) <= found <= truth * (1 + 1e-9)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, 5e-324])
def test_a_weight_that_is_no_positive_number_is_refused(value):
    net, _ = linear_net()
    weights = torch.ones(5, dtype=torch.float64)
    weights[2] = value
    with pytest.raises(UsageError, match="positive number"):
        with_input_weights(net.graph(), weights)


def test_output_weights_have_to_be_positive_as_well():
    net, _ = linear_net()
    with pytest.raises(UsageError, match="positive number"):
        with_output_weights(net.graph(), torch.zeros(4))


@pytest.mark.parametrize("wrap", [with_input_weights, with_output_weights])
def test_weights_of_another_shape_are_refused(wrap):
    net, _ = linear_net()
    with pytest.raises(UsageError, match="shape"):
        wrap(net.graph(), torch.ones(3))


def test_matrices_that_do_not_fit_are_refused():
    net, _ = linear_net()
    with pytest.raises(UsageError, match="5 rows"):
        with_input_map(net.graph(), torch.ones(4, 2))
    with pytest.raises(UsageError, match="4 columns"):
        with_output_rows(net.graph(), torch.ones(1, 3))
