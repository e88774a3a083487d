"""Norms of single layers, where the truth is a formula."""

from __future__ import annotations

import math

import pytest
import torch

from robustcert.errors import UnsoundModelError, UnsupportedLayerError
from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.execute import run
from robustcert.graph.layers import Affine, Layer
from robustcert.lipschitz.operator_norm import operator_norm_bound
from robustcert.lipschitz.upper.spectral_product import layer_norms
from robustcert.results.norm import Norm
from tests.unit.lipschitz.graphs import Sketch

BOTH = pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF])


def norm_of_last(net: Sketch, norm: Norm = Norm.L2) -> float:
    layer = net.layers[-1]
    return operator_norm_bound(layer, net.layers[layer.inputs[0]].shape, norm)


@pytest.mark.parametrize("size", [4, 9, 20])
def test_an_all_ones_convolution_has_the_norm_of_its_cosine_formula(size):
    net = Sketch(1, size, size)
    net.conv(torch.ones(1, 1, 3, 3, dtype=torch.float64), padding=1)
    truth = (1.0 + 2.0 * math.cos(math.pi / (size + 1))) ** 2
    assert truth <= norm_of_last(net) * (1 + 1e-14)
    assert norm_of_last(net) == pytest.approx(truth, rel=1e-9)
    assert norm_of_last(net, Norm.LINF) == pytest.approx(9.0, rel=1e-12)


def test_zero_weights_have_norm_exactly_zero():
    net = Sketch(2, 6, 6)
    net.conv(torch.zeros(3, 2, 3, 3, dtype=torch.float64), padding=1)
    assert norm_of_last(net) == 0.0
    assert norm_of_last(net, Norm.LINF) == 0.0


@pytest.mark.parametrize(
    ("settings", "shared"),
    [
        ({"kernel": 2, "stride": 2}, 1),
        ({"kernel": 3, "stride": 2}, 4),
        ({"kernel": 3, "stride": 1, "padding": 1}, 9),
        ({"kernel": (3, 2), "stride": (2, 2)}, 2),
        ({"kernel": 2, "stride": 2, "dilation": 2}, 4),
        ({"kernel": 2, "stride": 4, "dilation": 2}, 1),
        ({"kernel": 3, "stride": 2, "ceil": True}, 4),
    ],
)
def test_max_pooling_costs_the_root_of_the_windows_that_share_a_coordinate(
    settings, shared
):
    net = Sketch(2, 9, 9)
    net.maximum(**settings)
    assert norm_of_last(net) == pytest.approx(math.sqrt(shared), rel=1e-15)
    assert norm_of_last(net, Norm.LINF) == 1.0


def test_overlapping_max_pooling_attains_its_bound_at_a_single_bright_pixel():
    net = Sketch(1, 7, 7)
    net.maximum(kernel=3, stride=2)
    bright = torch.zeros(1, 1, 7, 7, dtype=torch.float64)
    bright[0, 0, 2, 2] = 1.0  # in four windows
    assert float(run(net.graph(), bright).norm()) == norm_of_last(net) == 2.0


@BOTH
def test_a_mean_has_norm_one_over_the_root_of_its_count(norm):
    net = Sketch(3, 4, 5)
    net.mean(1, 2)
    truth = 1.0 if norm is Norm.LINF else 1.0 / math.sqrt(20.0)
    assert truth <= norm_of_last(net, norm) <= truth * (1 + 1e-12)


@BOTH
def test_rearranging_has_norm_one(norm):
    net = Sketch(2, 3, 4)
    net.permute(2, 0, 1)
    assert norm_of_last(net, norm) == 1.0
    net.flatten()
    assert norm_of_last(net, norm) == 1.0


@pytest.mark.parametrize(
    ("activation", "steepest"),
    [
        (Activation(ActivationKind.RELU), 1.0),
        (Activation(ActivationKind.GELU), 1.1289041),
        (Activation(ActivationKind.SIGMOID), 0.25),
        (Activation(ActivationKind.LEAKY_RELU, (-2.0,)), 2.0),
        (Activation(ActivationKind.ELU, (1.0, 1.7, 1.0)), 1.7),
    ],
)
def test_an_activation_costs_its_steepest_slope(activation, steepest):
    net = Sketch(4)
    net.act(activation)
    assert norm_of_last(net) == pytest.approx(steepest, abs=1e-6)


def test_a_weight_along_the_last_dimension_acts_on_every_row_alike():
    net = Sketch(5, 3)
    weight = net.random(4, 3)
    net.linear(weight)
    truth = float(torch.linalg.matrix_norm(weight, 2))
    assert norm_of_last(net) == pytest.approx(truth, rel=1e-9)


def test_a_layer_without_a_rule_is_refused_by_name():
    with pytest.raises(UnsupportedLayerError, match="'attention'"):
        operator_norm_bound(Layer("attention", (0,), (3,)), (3,), Norm.L2)


def test_an_affine_layer_that_copies_its_input_is_refused():
    scale = torch.ones(5, dtype=torch.float64)
    layer = Affine("copies", (0,), (5,), scale, scale)
    with pytest.raises(UnsupportedLayerError, match="'copies'"):
        operator_norm_bound(layer, (1,), Norm.L2)


def test_the_layer_table_has_a_norm_for_every_layer_with_one_input():
    net = Sketch(3)
    first = net.linear(2.0 * torch.eye(3, dtype=torch.float64))
    second = net.act()
    net.add(first, second)
    norms = layer_norms(net.graph(), Norm.L2)
    assert norms == (None, pytest.approx(2.0, rel=1e-9), 1.0, None)


def test_the_layer_table_refuses_weights_that_are_not_finite():
    net = Sketch(2)
    net.linear(torch.tensor([[1.0, math.inf]], dtype=torch.float64))
    with pytest.raises(UnsoundModelError, match="'linear1'"):
        layer_norms(net.graph(), Norm.L2)
