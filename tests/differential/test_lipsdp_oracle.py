"""The oracle against nets whose LipSDP value is known on paper, and from both sides."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.execute import run
from tests.differential.lipsdp_oracle import geolip, lipsdp
from tests.differential.slope_nets import (
    Net,
    Node,
    Rows,
    chain,
    channel_groups,
    jacobian,
    read,
)
from tests.unit.lipschitz.graphs import Sketch, absolute_value, random_orthogonal

SOLVED = 1e-8  # relative


def gaussian_chain(*widths: int, seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [
        generator.standard_normal((rows, columns)) / columns**0.5
        for columns, rows in itertools.pairwise(widths)
    ]


def spectral(matrix: np.ndarray) -> float:
    return float(np.linalg.norm(matrix, 2))


def steepest_slopes(net: Net, count: int = 300) -> float:
    """The largest Jacobian norm over slopes at the ends of their intervals."""
    generator = np.random.default_rng(1)
    return max(
        spectral(
            jacobian(
                net,
                [
                    np.where(generator.random(len(n.low)) < 0.5, n.low, n.high)
                    for n in net.nodes
                ],
            )
        )
        for _ in range(count)
    )


def mixed_graph() -> Sketch:
    """A stride, a residual difference, two activations, an average pool, a head."""
    net = Sketch(1, 4, 4, seed=5)
    net.random_conv(2, stride=2, padding=1)
    block = net.act()
    net.random_conv(3, padding=1)
    net.act(Activation(ActivationKind.LEAKY_RELU, (0.2,)))
    inner = net.random_conv(2, padding=1)
    net.add(block, inner, -1.0)
    net.act()
    net.average()
    net.flatten()
    net.linear(3)
    return net


def test_a_linear_net_has_its_spectral_norm():
    (matrix,) = gaussian_chain(5, 3)
    optimum = lipsdp(Net((), Rows(matrix)))
    assert optimum.upper == pytest.approx(spectral(matrix), rel=SOLVED)
    assert optimum.lower == pytest.approx(spectral(matrix), rel=SOLVED)


def test_the_absolute_value_has_constant_one():
    optimum = lipsdp(read(absolute_value()))
    assert optimum.upper == pytest.approx(1.0, rel=SOLVED)
    assert optimum.multipliers == pytest.approx([2.0, 2.0], rel=1e-4)


def test_a_diagonal_net_has_its_steepest_path():
    diagonals = np.array([[1.0, -3.0, 0.5], [2.0, 1.5, -4.0], [1.0, 1.0, 3.0]])
    optimum = lipsdp(chain([np.diag(row) for row in diagonals]))
    assert optimum.upper == pytest.approx(6.0, rel=SOLVED)


def test_orthogonal_layers_have_constant_one():
    weights = [random_orthogonal(6, seed).numpy() for seed in (0, 1, 2)]
    optimum = lipsdp(chain(weights))
    assert optimum.upper == pytest.approx(1.0, rel=SOLVED)


@pytest.mark.parametrize(
    ("slopes", "weight", "truth"),
    [
        ((0.0, 1.0), -1.0, 1.0),  # x - relu(x)
        ((0.0, 1.0), 2.0, 3.0),
        ((-0.5, 1.5), -2.0, 2.0),  # between 1 - 3 and 1 + 1
        ((-0.125, 1.125), -1.0, 1.125),
    ],
)
def test_one_unit_beside_the_identity_is_bounded_exactly(slopes, weight, truth):
    one = np.ones((1, 1))
    unit = Node(Rows(one), *(np.array([end]) for end in slopes))
    optimum = lipsdp(Net((unit,), Rows(one, {0: weight * one})))
    assert optimum.upper == pytest.approx(truth, rel=SOLVED)


@pytest.mark.parametrize("widths", [(4, 7, 3), (6, 5, 8, 2), (3, 4, 4, 4, 2)])
@pytest.mark.parametrize("slopes", [(0.0, 1.0), (0.2, 1.0), (-0.13, 1.13)])
def test_the_value_lies_between_jacobians_and_the_product(widths, slopes):
    weights = gaussian_chain(*widths, seed=sum(widths))
    net = chain(weights, slopes)
    optimum = lipsdp(net)
    product = math.prod(map(spectral, weights)) * slopes[1] ** (len(widths) - 2)
    assert steepest_slopes(net) <= optimum.upper * (1 + SOLVED)
    assert optimum.upper < 0.95 * product
    assert optimum.lower == pytest.approx(optimum.upper, rel=1e-9)


def test_the_multipliers_give_the_closed_form_of_one_hidden_layer():
    first, last = gaussian_chain(6, 8, 3, seed=2)
    optimum = lipsdp(chain([first, last]))

    def closed_form(scales):
        inner = np.diag(1.0 / scales) - first @ first.T / 4.0 / np.outer(scales, scales)
        return math.sqrt(spectral(last @ np.linalg.inv(inner) @ last.T))

    best = optimum.upper**2 / optimum.multipliers
    assert closed_form(best) == pytest.approx(optimum.upper, rel=1e-7)
    generator = np.random.default_rng(0)
    for _ in range(50):
        other = best * np.exp(0.05 * generator.standard_normal(len(best)))
        if np.linalg.eigvalsh(np.diag(other) - first @ first.T / 4.0)[0] > 0.0:
            assert closed_form(other) >= optimum.lower * (1 - SOLVED)


def test_badly_scaled_units_change_nothing():
    first, middle, last = gaussian_chain(5, 6, 6, 3, seed=3)
    plain = lipsdp(chain([first, middle, last]))
    scales = 10.0 ** np.linspace(-5.0, 5.0, 6)
    scaled = lipsdp(
        chain([first * scales[:, None], middle / scales, 1e6 * last]),
    )
    assert scaled.upper == pytest.approx(1e6 * plain.upper, rel=1e-7)


def test_more_sharing_never_lowers_the_value():
    net = chain(gaussian_chain(5, 6, 4, 3, seed=4))
    neuron = lipsdp(net).upper
    pairs = lipsdp(net, np.arange(10) // 2).upper
    layer = lipsdp(net, np.array([0] * 6 + [1] * 4)).upper
    assert neuron < pairs < layer
    assert lipsdp(net, 7 * np.arange(10)[::-1]).upper == pytest.approx(neuron)


def test_units_of_known_slope_are_part_of_the_linear_map():
    first, last = gaussian_chain(4, 5, 3, seed=6)
    slopes = np.array([0.0, 1.0, 1.0, 0.0, 0.5])
    node = Node(Rows(first), slopes, slopes)
    net = Net((node,), Rows(np.zeros((3, 4)), {0: last}))
    truth = spectral(last @ np.diag(slopes) @ first)
    assert lipsdp(net).upper == pytest.approx(truth, rel=SOLVED)
    loose = Node(Rows(first), slopes, np.array([0.0, 1.0, 1.0, 1.0, 0.5]))
    opened = lipsdp(Net((loose,), net.output))
    assert opened.upper >= truth
    assert (opened.multipliers > 0.0).tolist() == [False, False, False, True, False]


def test_a_constant_net_has_constant_zero():
    first, last = gaussian_chain(4, 5, 3)
    assert lipsdp(chain([first, 0.0 * last])).upper == 0.0


def test_a_graph_is_read_as_the_map_it_is():
    graph = mixed_graph().graph()
    net = read(graph)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 4, 4, generator=generator, dtype=torch.float64)
    truth = torch.func.jacrev(lambda image: run(graph, image[None])[0])(x).flatten(1)
    slopes = [
        torch.func.jvp(graph.layers[p].activation, (z,), (torch.ones_like(z),))[1]
        for p, z in pre_activations(graph, x)
    ]
    found = jacobian(net, [slope.flatten().numpy() for slope in slopes])
    assert found == pytest.approx(truth.numpy(), rel=1e-12, abs=1e-14)


def pre_activations(graph, x):
    """Position and input of each activation layer."""
    for position, layer in enumerate(graph.layers):
        if layer.kind == "elementwise":
            part = type(graph)(graph.layers[: layer.inputs[0] + 1])
            yield position, run(part, x[None])[0]


def test_channels_of_a_residual_net_may_share_their_multipliers():
    graph = mixed_graph().graph()
    net, groups = read(graph), channel_groups(graph)
    assert groups.tolist() == np.repeat(np.arange(7), 4).tolist()
    shared, own = lipsdp(net, groups), lipsdp(net)
    assert steepest_slopes(net) <= own.upper < shared.upper


def test_a_max_pooling_is_refused_by_name():
    net = Sketch(1, 4, 4)
    net.maximum()
    net.flatten()
    with pytest.raises(UnsupportedLayerError, match="maxpool1"):
        read(net.graph())


def test_a_linear_logit_moves_by_its_absolute_sum():
    row = np.array([[1.0, -2.0, 0.0, 0.5]])
    assert geolip(Net((), Rows(row))).upper == pytest.approx(3.5, rel=SOLVED)


def test_a_logit_of_one_hidden_layer_lies_within_the_grothendieck_constant():
    first, last = gaussian_chain(4, 7, 2, seed=8)
    net = chain([first, last])
    weights = np.array([1.0, -1.0])
    optimum = geolip(net.logit(weights))
    patterns = itertools.product((0.0, 1.0), repeat=7)
    slopes = np.array(list(patterns)) * (weights @ last)
    formal = np.abs(slopes @ first).sum(axis=1).max()
    assert formal <= optimum.upper * (1 + SOLVED)
    assert optimum.upper <= 1.783 * formal
    product = np.abs(first).sum(axis=1).max() * np.abs(weights @ last).sum()
    assert optimum.upper < product
    assert optimum.upper <= math.sqrt(4) * lipsdp(net.logit(weights)).upper


def test_a_deep_logit_lies_between_its_jacobians_and_the_product():
    weights = gaussian_chain(4, 5, 5, 1, seed=9)
    net = chain(weights)
    optimum = geolip(net)
    generator = np.random.default_rng(0)
    reached = max(
        np.abs(
            jacobian(net, list(generator.integers(0, 2, (2, 5)).astype(float)))
        ).sum()
        for _ in range(300)
    )
    product = math.prod(np.abs(weight).sum(axis=1).max() for weight in weights)
    assert reached <= optimum.upper * (1 + SOLVED)
    assert optimum.upper < 0.9 * product


def test_several_outputs_are_refused_by_the_linf_bound():
    with pytest.raises(ValueError, match="one output"):
        geolip(chain(gaussian_chain(3, 4, 2)))
