"""LipLT where its sums can be worked out by hand, and on trained nets."""

from __future__ import annotations

import pytest
import torch

from robustcert.errors import UnsupportedLayerError
from robustcert.evaluation.load import load_model
from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.execute import run
from robustcert.graph.extract import extract
from robustcert.graph.layers import Elementwise, LayerGraph
from robustcert.lipschitz.lipsdp import change_bounds
from robustcert.lipschitz.lipsdp.compile import compiled, plain
from robustcert.lipschitz.lipsdp.dense import dense_program
from robustcert.lipschitz.lipsdp.linear_norms import (
    loose_norm_bound,
    spectral_norm_bounds,
)
from robustcert.lipschitz.lipsdp.map_errors import map_errors
from robustcert.lipschitz.lipsdp.torus.program import torus_program
from robustcert.lipschitz.upper.liplt import l2_bound, liplt
from robustcert.lipschitz.upper.propagation import sound_folded
from robustcert.lipschitz.upper.spectral_product import spectral_product
from robustcert.results.effort import Effort
from robustcert.results.norm import Norm
from tests.unit.lipschitz.graphs import (
    Sketch,
    absolute_value,
    problem,
    random_orthogonal,
)

BOTH = pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF])


def bound(graph: LayerGraph, norm: Norm = Norm.L2) -> float:
    return liplt(problem(graph, norm), Effort.FAST).value


def product(graph: LayerGraph, norm: Norm = Norm.L2) -> float:
    return spectral_product(problem(graph, norm), Effort.FAST).value


def two_norm(matrix) -> float:
    return float(torch.linalg.matrix_norm(matrix, 2))


def test_the_absolute_value_as_a_net_is_found_to_have_constant_one():
    """Followed in a line, ``relu(x) + relu(-x)`` is 0; both halves bend by 1/2."""
    assert bound(absolute_value(), Norm.LINF) == pytest.approx(1.0, rel=1e-9)
    assert bound(absolute_value(), Norm.L2) == pytest.approx(1.0, rel=1e-5)


def test_a_chain_obeys_the_recursion_of_its_norms():
    net = Sketch(7, seed=1)
    weights = []
    for size in (9, 6, 8):
        net.linear(size)
        weights.append(net.layers[-1].weight)
        net.act()
    net.linear(3)
    weights.append(net.layers[-1].weight)
    constants = [1.0]
    for last in range(4):
        total = 0.0
        for first in range(last + 1):
            matrix = weights[first]
            for number in range(first + 1, last + 1):
                matrix = 0.5 * weights[number] @ matrix
            halved = 1.0 if first == 0 else 0.5
            total += halved * two_norm(matrix) * constants[first]
        constants.append(total)
    assert constants[-1] <= bound(net.graph()) <= constants[-1] * (1 + 1e-3)


@BOTH
def test_a_linear_net_keeps_its_exact_norm(norm):
    net = Sketch(6)
    for size in (5, 7, 4):
        net.linear(size)
    weights = [layer.weight for layer in net.layers[1:]]
    matrix = weights[2] @ weights[1] @ weights[0]
    truth = float(torch.linalg.matrix_norm(matrix, norm.value))
    assert truth <= bound(net.graph(), norm) <= truth * (1 + 1e-5)


@BOTH
def test_an_activation_that_is_the_identity_costs_nothing(norm):
    """A leaky rectifier of slope 1 has no bent half."""
    net = Sketch(6)
    net.linear(random_orthogonal(6, 1))
    net.act(Activation(ActivationKind.LEAKY_RELU, (1.0,)))
    net.linear(random_orthogonal(6, 1).T)
    assert bound(net.graph(), norm) == pytest.approx(1.0, rel=1e-5)


@BOTH
def test_half_of_a_residual_block_is_followed_in_a_line(norm):
    """``x - relu(x)``: the line is x / 2 and the bend 1/2, where the product says 2."""
    net = Sketch(3)
    net.linear(torch.eye(3, dtype=torch.float64))
    first = net.act()
    net.linear(torch.eye(3, dtype=torch.float64))
    net.add(first, net.act(), weight=-1.0)
    assert bound(net.graph(), norm) == pytest.approx(1.0, rel=1e-5)
    assert product(net.graph(), norm) == pytest.approx(2.0, rel=1e-5)


@BOTH
def test_a_constant_net_is_bounded_by_rounding_alone(norm):
    net = Sketch(3)
    net.linear(4)
    net.act()
    net.linear(torch.zeros(2, 4, dtype=torch.float64))
    assert bound(net.graph(), norm) <= 1e-9


@BOTH
@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_scaling_the_last_layer_scales_the_bound(norm, scale):
    bounds = []
    for factor in (1.0, scale):
        net = Sketch(4, seed=3)
        net.linear(5)
        net.act()
        net.linear(factor * net.random(3, 5))
        bounds.append(bound(net.graph(), norm))
    assert bounds[1] / scale == pytest.approx(bounds[0], rel=1e-5)


@BOTH
def test_a_deep_net_stays_below_its_product_and_above_its_gradients(norm):
    net = Sketch(8, seed=2)
    for _ in range(30):
        net.linear(8)
        net.act()
    net.linear(4)
    graph = net.graph()
    points = net.random(20, 8)
    steepest = max(
        float(torch.linalg.matrix_norm(_jacobian(graph, point), norm.value))
        for point in points
    )
    assert 0.0 < steepest <= bound(graph, norm) <= product(graph, norm)


def _jacobian(graph: LayerGraph, point):
    return torch.autograd.functional.jacobian(lambda x: run(graph, x[None])[0], point)


def test_strided_convolutions_on_the_torus_stay_below_the_product():
    net = Sketch(3, 16, 16, seed=4)
    net.random_conv(8, padding=1)
    net.act()
    net.random_conv(8, padding=1, stride=2)
    net.act()
    net.flatten()
    net.linear(5)
    assert bound(net.graph()) <= 1.05 * product(net.graph())


@BOTH
def test_max_pooling_is_followed_as_rectifiers(norm):
    net = Sketch(1, 4, 4)
    net.maximum()
    net.flatten()
    graph = net.graph()
    assert 1.0 <= bound(graph, norm) <= 4.0 * (1 + 1e-9)


def test_on_the_torus_the_bound_is_near_that_of_the_dense_matrices():
    net = Sketch(2, 10, 10, seed=5)
    net.random_conv(4, padding=1)
    net.act()
    net.random_conv(4, padding=1, stride=2)
    net.act()
    net.flatten()
    net.linear(3)
    graph = plain(sound_folded(net.graph()))
    errors = map_errors(graph, Norm.L2)
    dense = l2_bound(dense_program(graph), errors)
    circular = l2_bound(torus_program(graph), errors)
    assert 0.999 * dense <= circular <= 1.15 * dense


def test_products_too_large_to_hold_are_refused(monkeypatch):
    monkeypatch.setattr(change_bounds, "LARGEST", 10)
    with pytest.raises(UnsupportedLayerError, match="more than 10 numbers"):
        bound(absolute_wide())


def absolute_wide() -> LayerGraph:
    net = Sketch(4)
    net.linear(6)
    net.act()
    net.linear(3)
    return net.graph()


@pytest.mark.parametrize("rows", [3, 40, 200])
def test_cheap_norms_enclose_singular_values(rows):
    net = Sketch(1, seed=rows)
    real = [net.random(5, rows, width) for width in (2, 30, 300)]
    mixed = [torch.complex(net.random(6, rows, 20), net.random(6, rows, 20))]
    for matrix, found in zip(
        real + mixed,
        spectral_norm_bounds(real) + spectral_norm_bounds(mixed),
        strict=True,
    ):
        truth = float(torch.linalg.matrix_norm(matrix, 2).max())
        assert truth <= found <= truth * (1 + 1e-3)
        assert truth <= loose_norm_bound(matrix) <= 2.0 * truth


def test_what_rounding_may_do_is_small_against_the_maps():
    graph = plain(sound_folded(absolute_wide()))
    for norm in (Norm.L2, Norm.LINF):
        assert all(0.0 < error < 1e-10 for error in map_errors(graph, norm))


@pytest.mark.parametrize(
    ("name", "shape", "published"),
    [
        ("mnist_mlp_lipsdp", (1, 28, 28), 27.77),
        ("mnist_mlp_6x100", (1, 28, 28), 263.0),
        ("mnist_conv_kw", (1, 28, 28), 151.1),
    ],
)
def test_trained_nets_have_the_values_of_exact_norms(trained, name, shape, published):
    data = (trained / "models" / f"{name}.ts.pt").read_bytes()
    graph = extract(load_model(data, input_shape=shape))
    assert bound(graph) == pytest.approx(published, rel=0.03)


def test_every_stage_of_a_compiled_net_has_its_error():
    net = Sketch(3, 16, 16, seed=4)
    net.random_conv(8, padding=1)
    net.act()
    net.maximum()
    net.flatten()
    net.linear(5)
    graph = sound_folded(net.graph())
    program, errors = compiled(graph), map_errors(plain(graph), Norm.L2)
    assert len(errors) == len(program.stages) + 1
    names = [layer.name for layer in plain(graph).layers if type(layer) is Elementwise]
    assert {stage.layer for stage in program.stages} == set(names)


def test_written_out_the_maps_do_not_reach_round_a_torus():
    net = Sketch(2, 12, 12, seed=3)
    for channels in (6, 4):
        net.random_conv(channels, padding=1)
        net.act()
    net.flatten()
    net.linear(3)
    asked = problem(net.graph())
    assert compiled(net.graph()).torus
    on_torus, out = (liplt(asked, effort).value for effort in (Effort.FAST, Effort.MAX))
    assert 0.5 * on_torus < out < 0.99 * on_torus


@pytest.mark.data
def test_written_out_a_trained_net_reaches_what_exact_norms_give(trained):
    data = (trained / "models" / "fashion_conv_kw.ts.pt").read_bytes()
    graph = extract(load_model(data, input_shape=(1, 28, 28)))
    assert liplt(problem(graph), Effort.MAX).value < 140.8
