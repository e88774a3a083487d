"""Nets at the edge: zeros, rank 1, single units, no activation, twenty digits."""

from __future__ import annotations

import math

import pytest
import torch

from robustcert.errors import UnsoundModelError
from robustcert.graph.layers import LayerGraph
from robustcert.lipschitz.bracket import measure
from robustcert.lipschitz.registry import UPPER_METHODS
from robustcert.results.effort import Effort
from tests.unit.lipschitz.graphs import Sketch, problem

L2_METHODS = ("spectral_product", "liplt", "eclipse_fast", "lipsdp")


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def chain(*weights: torch.Tensor) -> LayerGraph:
    net = Sketch(weights[0].shape[1])
    for number, weight in enumerate(weights):
        if number:
            net.act()
        net.linear(weight)
    return net.graph()


def convolution(kernel: torch.Tensor) -> LayerGraph:
    net = Sketch(2, 7, 5)
    net.conv(kernel, padding=1, stride=2)
    net.act()
    net.random_conv(2, padding=1)
    net.act()
    net.flatten()
    net.linear(3)
    return net.graph()


def value(graph: LayerGraph, name: str) -> float:
    return UPPER_METHODS[name](problem(graph), Effort.FAST).value


@pytest.mark.parametrize("name", [*L2_METHODS, "lipsdp_box"])
@pytest.mark.parametrize("zero", [0, 1, 2])
def test_a_net_with_a_layer_of_zeros_has_the_bound_0(name, zero):
    weights = [random(4, 3), random(4, 4), random(2, 4)]
    weights[zero] = torch.zeros_like(weights[zero])
    assert value(chain(*weights), name) == 0.0


@pytest.mark.parametrize("name", L2_METHODS)
def test_a_convolution_of_zeros_on_an_oblong_image_has_the_bound_0(name):
    assert value(convolution(torch.zeros(3, 2, 3, 3).double()), name) == 0.0


@pytest.mark.parametrize("name", L2_METHODS)
def test_a_single_layer_has_its_norm(name):
    weight = random(2, 3)
    exact = float(torch.linalg.matrix_norm(weight, 2))
    assert exact <= value(chain(weight), name) <= exact * (1 + 1e-5)


@pytest.mark.parametrize("name", L2_METHODS)
def test_single_units_have_the_product_of_their_weights(name):
    weights = [random(1, 3), random(1, 1), random(2, 1)]
    exact = math.prod(float(w.norm()) for w in weights)
    assert exact * (1 - 1e-12) <= value(chain(*weights), name) <= exact * (1 + 1e-5)


@pytest.mark.parametrize("name", L2_METHODS)
@pytest.mark.parametrize("factor", [1e-20, 1e20])
def test_scales_of_twenty_digits_scale_the_bound(name, factor):
    weights = [random(4, 3), random(4, 4, seed=1), random(2, 4, seed=2)]
    plain = value(chain(*weights), name)
    scaled = value(chain(*(factor * weight for weight in weights)), name)
    assert scaled == pytest.approx(plain * factor**3, rel=1e-4)


def test_layers_of_rank_1_are_enclosed():
    weights = [
        random(4, 1) @ random(1, 3, seed=1),
        random(4, 1, seed=2) @ random(1, 4, seed=3),
        random(2, 4, seed=4),
    ]
    bracket = measure(problem(chain(*weights)), Effort.FAST)
    assert bracket.lower.value <= bracket.upper.value < math.inf


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_weight_that_is_no_number_is_refused(bad):
    weight = random(4, 3)
    weight[0, 0] = bad
    with pytest.raises(UnsoundModelError, match="NaN or infinite"):
        measure(problem(chain(weight, random(2, 4))), Effort.FAST)
