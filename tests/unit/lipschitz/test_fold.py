"""Folding changes the layers and not the function."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustcert.graph.execute import run
from robustcert.graph.fold import folded
from robustcert.graph.layers import Affine, Conv, Input, Linear
from tests.unit.lipschitz.graphs import Sketch


def kinds(graph) -> list[type]:
    return [type(layer) for layer in graph.layers]


def assert_same_function(net: Sketch, tolerance: float = 1e-12):
    graph = net.graph()
    simple = folded(graph)
    inputs = net.random(5, *graph.input_shape)
    torch.testing.assert_close(
        run(simple, inputs), run(graph, inputs), rtol=tolerance, atol=tolerance
    )
    return simple


def channels(net: Sketch, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    return net.random(count, 1, 1), net.random(count, 1, 1)


def test_batch_norm_behind_a_convolution_vanishes():
    net = Sketch(2, 6, 6)
    net.random_conv(4, padding=1)
    net.affine(*channels(net, 4))
    net.act()
    net.flatten()
    net.linear(3)
    simple = assert_same_function(net)
    assert Affine not in kinds(simple)


def test_normalisation_before_a_padded_convolution_scales_it_and_stays_a_shift():
    net = Sketch(2, 6, 6)
    net.affine(*channels(net, 2))
    net.random_conv(4, padding=1, groups=2, stride=2)
    net.act()
    net.flatten()
    net.linear(3)
    simple = assert_same_function(net)
    assert kinds(simple)[:3] == [Input, Conv, Affine]
    assert bool((simple.layers[2].scale == 1.0).all())


def test_normalisation_before_an_unpadded_convolution_vanishes():
    net = Sketch(2, 6, 6)
    net.affine(*channels(net, 2))
    net.random_conv(4)
    net.flatten()
    net.linear(3)
    assert Affine not in kinds(assert_same_function(net))


def test_a_scale_of_zero_folds_too():
    net = Sketch(2, 5, 5)
    shift = net.random(2, 1, 1)
    net.affine(torch.tensor([0.0, 2.0]).reshape(2, 1, 1).double(), shift)
    net.random_conv(3, padding=1)
    net.flatten()
    net.linear(3)
    assert kinds(assert_same_function(net))[1] is Conv


def test_normalisation_before_flattening_goes_into_the_linear_layer():
    net = Sketch(2, 3, 3)
    net.affine(*channels(net, 2))
    net.permute(1, 2, 0)
    net.flatten()
    net.linear(4)
    simple = assert_same_function(net)
    assert Affine not in kinds(simple)
    assert isinstance(simple.layers[-1], Linear)


def test_affine_layers_in_a_row_become_one():
    net = Sketch(3)
    net.act()
    for _ in range(3):
        net.affine(net.random(3), net.random(3))
    net.act()
    simple = assert_same_function(net)
    assert kinds(simple).count(Affine) == 1


def test_a_layer_that_others_read_keeps_its_weights():
    net = Sketch(3)
    first = net.linear(3)
    second = net.affine(net.random(3), net.random(3))
    net.add(first, second)
    simple = assert_same_function(net)
    assert torch.equal(simple.layers[1].weight, net.layers[1].weight)


def test_a_scale_that_differs_from_place_to_place_stays():
    net = Sketch(1, 4, 4)
    net.random_conv(2, padding=1)
    net.affine(net.random(2, 4, 4), 0.0)
    net.act()
    net.flatten()
    net.linear(2)
    assert Affine in kinds(assert_same_function(net))


def test_layers_that_the_output_does_not_read_are_left_out():
    net = Sketch(3)
    net.linear(5)
    net.linear(2, source=0)
    assert kinds(assert_same_function(net)) == [Input, Linear]


def test_an_identity_in_last_place_is_dropped():
    net = Sketch(3)
    net.linear(2)
    net.act()
    net.affine(1.0, 0.0)
    assert kinds(assert_same_function(net))[-1] is not Affine


def test_float32_weights_are_folded_in_float64():
    net = Sketch(3, dtype=torch.float32)
    net.linear(4)
    net.affine(net.random(4), net.random(4))
    simple = folded(net.graph())
    assert simple.dtype is torch.float64
    inputs = net.random(5, 3).double()
    exact = run(net.graph().to(torch.float64), inputs)
    torch.testing.assert_close(run(simple, inputs), exact, rtol=1e-14, atol=1e-14)


@given(
    seed=st.integers(0, 2**16),
    steps=st.lists(
        st.sampled_from(["conv", "per channel", "uniform", "map", "act", "permute"]),
        max_size=7,
    ),
)
def test_folding_any_sequence_keeps_the_function(seed, steps):
    net = Sketch(3, 4, 4, seed=seed)
    for step in steps:
        shape = net.layers[-1].shape
        match step:
            case "conv":
                net.random_conv(3, padding=1)
            case "per channel":
                net.affine(net.random(shape[0], 1, 1), net.random(shape[0], 1, 1))
            case "uniform":
                net.affine(net.random(1)[0], net.random(1)[0])
            case "map":
                net.affine(net.random(shape[0], 1, 1), net.random(*shape))
            case "act":
                net.act()
            case "permute":
                net.permute(0, 2, 1)
    net.flatten()
    net.linear(3)
    simple = assert_same_function(net, tolerance=1e-9)
    assert folded(simple).layers[-1].shape == (3,)


def test_shapes_that_broadcast_to_larger_ones_are_left_alone():
    net = Sketch(1)
    net.affine(net.random(4), net.random(4))
    net.linear(2)
    simple = assert_same_function(net)
    assert kinds(simple) == [Input, Affine, Linear]


@pytest.mark.parametrize("order", [(1, 0), (0, 1)])
def test_an_affine_layer_follows_a_permutation(order):
    net = Sketch(2, 3)
    net.affine(net.random(2, 3), net.random(2, 3))
    net.permute(*order)
    net.act()
    assert_same_function(net)
