"""Trained models as files that an evaluation accepts."""

from __future__ import annotations

import hashlib

import pytest
import torch
from torch import nn

from robustcert.errors import ModelLoadError, UsageError
from robustcert.evaluation.load import load_model
from robustcert.graph.extract import extract
from robustcert.train.export import save_model
from robustcert.train.interface import drawn_from
from robustcert.train.nets import FAMILIES, NETS, net_named

SHAPE = (1, 8, 8)
EVERY = [*NETS, *(f"{family}:8,6" for family in FAMILIES)]
READABLE = [name for name in EVERY if not name.endswith("regression-sigmoid")]


@pytest.mark.parametrize("name", READABLE)
@pytest.mark.parametrize("ending", [".ts.pt", ".pt2"])
def test_each_net_is_loaded_and_read_as_a_graph_with_the_same_logits(
    name, ending, tmp_path
):
    net = net_named(name, SHAPE, 3, drawn_from(0))
    saved = save_model(net, SHAPE, tmp_path / f"model{ending}")
    data = saved.path.read_bytes()
    assert saved.sha256 == hashlib.sha256(data).hexdigest()
    loaded = load_model(data, sample_shape=SHAPE)
    assert (loaded.format, loaded.input_shape, loaded.classes) == (
        saved.format,
        SHAPE,
        3,
    )
    inputs = torch.rand(5, *SHAPE, generator=drawn_from(1))
    with torch.no_grad():
        assert torch.allclose(loaded.logits(inputs), net(inputs), atol=1e-5)
    assert extract(loaded).outputs == 3


def test_the_model_stays_as_it_was(tmp_path):
    net = net_named("mlp:6", (4,), 3, drawn_from(0)).train()
    save_model(net, (4,), tmp_path / "model.pt")
    assert net.training
    assert all(parameter.requires_grad for parameter in net.parameters())


class Doubling(nn.Module):
    """A module that answers otherwise once it is scripted."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.layer(inputs)
        if torch.jit.is_scripting():
            outputs = outputs * 2.0
        return outputs


def test_a_file_that_answers_otherwise_than_the_model_is_not_written(tmp_path):
    with pytest.raises(ModelLoadError, match="answers otherwise"):
        save_model(Doubling(), (4,), tmp_path / "model.pt")
    assert list(tmp_path.iterdir()) == []


class Unscriptable(nn.Module):
    """TorchScript has no words for its forward."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, *inputs):
        return self.layer(inputs[0])


class Undecided(nn.Module):
    """What it computes depends on the values, which no exported program can follow."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if bool(inputs.sum() > 0):
            return self.layer(inputs)
        return -self.layer(inputs)


@pytest.mark.parametrize(
    ("model", "name"), [(Unscriptable, "model.pt"), (Undecided, "model.pt2")]
)
def test_a_model_that_cannot_be_exported_is_refused_with_a_remedy(
    model, name, tmp_path
):
    with pytest.raises(ModelLoadError) as caught:
        save_model(model(), (4,), tmp_path / name)
    assert "torch.nn" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("in the way")
    net = net_named("mlp:6", (4,), 3, drawn_from(0))
    with pytest.raises(UsageError, match="cannot be written"):
        save_model(net, (4,), tmp_path / "file" / "model.pt")
