"""A module read as layers that hold its own parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.execute import run
from robustcert.train.lipschitz_layers import AOLLinear
from robustcert.train.live import live_graph
from tests.unit.train.robust_cases import generator, seeded

IMAGE = (2, 8, 8)
NETS = {
    "perceptron": (
        lambda: nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)),
        (5,),
    ),
    "nested": (
        lambda: nn.Sequential(
            nn.Sequential(nn.Flatten(), nn.Linear(6, 4)), nn.Identity(), nn.Sigmoid()
        ),
        (2, 3),
    ),
    "convolutional": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2),
            nn.LeakyReLU(0.2),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 3, (2, 1), bias=False),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(6, 3),
        ),
        IMAGE,
    ),
    "averaging": (
        lambda: nn.Sequential(
            nn.AvgPool2d(3, 2, padding=1, count_include_pad=False),
            nn.GELU("tanh"),
            nn.Conv2d(2, 2, 3, dilation=1),
            nn.Softplus(beta=2.0),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(8, 3),
        ),
        IMAGE,
    ),
    "along time": (
        lambda: nn.Sequential(
            nn.Conv1d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(9, 2)
        ),
        (2, 5),
    ),
    "almost orthogonal": (
        lambda: nn.Sequential(
            AOLLinear(5, 4, generator(0)), nn.GELU(), AOLLinear(4, 6, generator(1))
        ),
        (5,),
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_the_live_graph_computes_what_the_module_computes(name):
    build, shape = NETS[name]
    net = seeded(build())
    inputs = torch.randn(4, *shape, generator=generator(1), dtype=torch.float64)
    graph = live_graph(net, shape)
    torch.testing.assert_close(run(graph, inputs), net(inputs))
    assert [layer.shape for layer in graph.layers][-1] == net(inputs).shape[1:]


@pytest.mark.parametrize("name", NETS)
def test_gradients_through_the_live_graph_reach_the_modules_own_parameters(name):
    build, shape = NETS[name]
    net = seeded(build())
    inputs = torch.randn(4, *shape, generator=generator(1), dtype=torch.float64)
    parameters = list(net.parameters())
    ours = torch.autograd.grad(
        run(live_graph(net, shape), inputs).square().sum(), parameters
    )
    theirs = torch.autograd.grad(net(inputs).square().sum(), parameters)
    assert all(gradient.abs().max() > 0 for gradient in theirs)
    torch.testing.assert_close(ours, theirs)


class Doubled(nn.Linear):
    """Computes something else than the layer that it derives from."""

    def forward(self, inputs):
        return 2.0 * super().forward(inputs)


@pytest.mark.parametrize(
    "module",
    [
        nn.BatchNorm1d(4),
        nn.Dropout(),
        Doubled(4, 4),
        nn.Flatten(0),
        nn.Softplus(threshold=3),
        nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)),
    ],
    ids=lambda module: type(module).__name__,
)
def test_a_module_without_a_rule_is_refused_by_its_name(module):
    net = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), module))
    with pytest.raises(UnsupportedLayerError) as refusal:
        live_graph(net, (3,))
    assert refusal.value.layer == "1.1"


def test_a_convolution_that_pads_with_its_own_pixels_is_refused():
    net = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"))
    with pytest.raises(UnsupportedLayerError, match="zero padding"):
        live_graph(net, IMAGE)


def test_an_input_shape_that_does_not_fit_is_refused_at_its_layer():
    with pytest.raises(UnsupportedLayerError) as refusal:
        live_graph(nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 2)), (3,))
    assert refusal.value.layer == "1"
