"""Nets by name."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from robustcert.errors import UnknownNameError, UsageError
from robustcert.train.interface import drawn_from
from robustcert.train.nets import FAMILIES, NETS, convolution, dense, net_named

IMAGE = (1, 28, 28)
EVERY = [*NETS, *(f"{family}:6,4" for family in FAMILIES)]


def built(name, seed=0, shape=IMAGE, outputs=10):
    return net_named(name, shape, outputs, drawn_from(seed))


@pytest.mark.parametrize("name", EVERY)
def test_each_net_maps_a_batch_of_inputs_to_outputs(name):
    net = built(name)
    assert net(torch.rand(3, *IMAGE)).shape == (3, 10)
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", EVERY)
def test_the_generator_alone_decides_the_parameters(name):
    before = torch.get_rng_state()
    first, again, other = (built(name, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize(
    ("name", "shape", "outputs", "count"),
    [
        ("mlp-64-64-sigmoid", IMAGE, 10, 784 * 64 + 64 + 64 * 64 + 64 + 64 * 10 + 10),
        ("mlp-200-80", IMAGE, 10, 784 * 200 + 200 + 200 * 80 + 80 + 80 * 10 + 10),
        ("mlp-regression", (1,), 1, 1000 + 500 * 200 + 200 + 200 * 100 + 100 + 101),
        ("madry-conv", IMAGE, 10, 32 * 26 + 64 * 801 + 3136 * 1024 + 1024 + 10250),
        ("mlp:5", (3,), 2, 3 * 5 + 5 + 5 * 2 + 2),
    ],
)
def test_a_net_has_the_parameters_of_its_layers(name, shape, outputs, count):
    net = built(name, shape=shape, outputs=outputs)
    assert sum(parameter.numel() for parameter in net.parameters()) == count


def test_the_sigmoid_output_closes_the_same_net():
    plain = built("mlp-regression", shape=(1,), outputs=1)
    closed = built("mlp-regression-sigmoid", shape=(1,), outputs=1)
    x = torch.linspace(-4, 4, 9)[:, None]
    assert torch.equal(plain(x).sigmoid(), closed(x))


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [
        (dense(100, 300, drawn_from(0)), 100),
        (convolution(4, 64, 5, drawn_from(0), stride=2, padding=1), 100),
    ],
)
def test_parameters_are_uniform_in_the_reach_of_their_fan_in(layer, fan_in):
    reach = 1.0 / math.sqrt(fan_in)
    for parameter in layer.parameters():
        assert float(parameter.detach().abs().max()) <= reach
    spread = float(layer.weight.detach().std())
    assert spread == pytest.approx(reach / math.sqrt(3.0), rel=0.02)


def test_a_convolution_has_the_stride_and_padding_asked_for():
    layer = convolution(1, 2, 3, drawn_from(0), stride=2, padding=1)
    assert isinstance(layer, nn.Conv2d)
    assert layer(torch.zeros(1, 1, 8, 8)).shape == (1, 2, 4, 4)


@pytest.mark.parametrize("name", ["resnet", "mlp", "mlp:", "mlp:6,", "mlp:x", "mlp:-3"])
def test_an_unknown_net_is_refused_with_the_names_there_are(name):
    with pytest.raises(UnknownNameError, match="mlp-200-80") as caught:
        built(name)
    assert caught.value.remedy


@pytest.mark.parametrize("name", ["mlp:0", "mlp:6,99999999"])
def test_widths_that_no_layer_has_are_refused(name):
    with pytest.raises(UsageError, match="width"):
        built(name)


@pytest.mark.parametrize("shape", [(784,), (1, 3, 28)])
def test_the_convolutional_net_refuses_what_is_no_image(shape):
    with pytest.raises(UsageError, match="madry-conv"):
        built("madry-conv", shape=shape)
