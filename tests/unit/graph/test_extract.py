"""Every net is read as a graph that computes the same, or refused by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robustcert.errors import ModelLoadError, UnsupportedLayerError
from robustcert.graph.agreement import as_returned
from robustcert.graph.execute import run
from robustcert.graph.extract import extract
from robustcert.models.torchscript import load_torchscript
from tests.models import nets

ALL_NETS = [(name, nets.IMAGE, build) for name, build in nets.IMAGE_NETS.items()] + [
    (name, nets.TABLE, build) for name, build in nets.TABLE_NETS.items()
]
EXPORTS = {
    "scripted": lambda net, _shape: nets.scripted(net),
    "traced": nets.traced,
    "frozen": lambda net, _shape: nets.frozen(net),
}


@pytest.mark.parametrize("export", EXPORTS)
@pytest.mark.parametrize(
    ("name", "shape", "build"), ALL_NETS, ids=[name for name, *_ in ALL_NETS]
)
def test_the_graph_computes_what_the_model_computes(name, shape, build, export):
    net = nets.settled(build())
    model = load_torchscript(EXPORTS[export](net, shape), input_shape=shape)
    graph = extract(model)
    batch = torch.randn(5, *shape, generator=torch.Generator().manual_seed(3)).double()
    ours = as_returned(run(graph, batch), model.output)
    torch.testing.assert_close(ours, net.double()(batch), rtol=1e-6, atol=1e-6)


def test_layers_carry_the_names_of_the_users_modules():
    net = nets.settled(nets.Residual(2))
    whole = nn.Sequential(net, nn.Flatten(), nn.Linear(128, 4))
    graph = extract(load_torchscript(nets.scripted(whole), input_shape=nets.IMAGE))
    assert {"0.conv1", "0.norm", "0.conv2", "2"} <= {l.name for l in graph.layers}


def refusal(net: nn.Module, shape: tuple[int, ...]) -> UnsupportedLayerError:
    model = load_torchscript(nets.scripted(net), input_shape=shape)
    with pytest.raises(UnsupportedLayerError) as caught:
        extract(model)
    assert caught.value.remedy
    return caught.value


def test_an_unknown_operator_is_refused_by_name():
    net = nn.Sequential(nn.Flatten(), nn.Linear(128, 4), nn.LayerNorm(4))
    assert "layer_norm" in refusal(net, nets.IMAGE).reason


def test_a_branch_on_data_is_refused():
    assert "aten::sum has no rule" in refusal(nets.DataBranch(), nets.TABLE).reason


def test_a_view_changed_in_place_is_refused():
    error = refusal(nets.settled(nets.ViewThenInPlace()), nets.TABLE)
    assert "in place" in error.reason


def test_a_softmax_in_the_middle_is_refused():
    net = nn.Sequential(nn.Linear(6, 4), nn.Softmax(dim=1), nn.Linear(4, 3))
    assert "softmax" in refusal(net, nets.TABLE).reason


def test_a_batch_norm_that_was_traced_in_train_mode_is_refused():
    net = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)).train()
    model = load_torchscript(nets.traced(net, nets.TABLE), input_shape=nets.TABLE)
    with pytest.raises(UnsupportedLayerError) as caught:
        extract(model)
    assert "eval()" in caught.value.remedy


class MixesBatch(nn.Module):
    def forward(self, x):
        return x.reshape(3, -1)[:, :4].reshape(-1, 3)[: x.shape[0]]


class Centred(nn.Module):
    """Subtracts the mean over the batch."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(x - x.mean(dim=0, keepdim=True))


def test_a_mean_over_the_batch_is_refused():
    assert "batch" in refusal(Centred(), nets.TABLE).reason


class HardWired(nn.Module):
    """Was traced with the batch size as a constant."""

    def forward(self, x):
        return x.reshape(2, 6)


def test_a_hard_wired_batch_size_is_refused():
    net = nn.Sequential(HardWired(), nn.Linear(6, 3))
    with pytest.raises((UnsupportedLayerError, ModelLoadError)):
        extract(load_torchscript(nets.scripted(net), input_shape=nets.TABLE))


class Halved(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(x.half().float())


def test_a_conversion_to_half_precision_is_refused():
    assert "converts" in refusal(Halved(), nets.TABLE).reason


class Counter(nn.Module):
    """Keeps state between calls."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        self.calls += 1
        return self.head(x) + self.calls


def test_a_model_with_state_is_refused():
    model = load_torchscript(nets.scripted(Counter()), input_shape=nets.TABLE)
    with pytest.raises((UnsupportedLayerError, ModelLoadError)):
        extract(model)


def test_one_probability_is_refused_with_a_remedy():
    net = nn.Sequential(nn.Linear(6, 1), nn.Sigmoid())
    model = load_torchscript(nets.scripted(net), input_shape=nets.TABLE)
    with pytest.raises(ModelLoadError, match="one probability") as caught:
        extract(model)
    assert "sigmoid" in caught.value.remedy


def test_a_random_model_is_refused():
    class Random(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(6, 3)

        def forward(self, x):
            return self.head(x + torch.rand_like(x))

    model = load_torchscript(nets.traced(Random(), nets.TABLE), input_shape=nets.TABLE)
    with pytest.raises(UnsupportedLayerError, match="rand_like"):
        extract(model)
