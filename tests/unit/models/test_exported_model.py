"""A torch.export program loads without torch's loader, and runs as torch runs it."""

from __future__ import annotations

import hashlib

import pytest
import torch
from torch import nn

from robustcert.errors import (
    ArchiveError,
    InputShapeError,
    ModelLoadError,
    UnsoundModelError,
)
from robustcert.models.exported import load_exported
from robustcert.results.report import OutputKind
from tests.models import nets, programs


def load(net: nn.Module, shape: tuple[int, ...] = nets.TABLE, **options):
    return load_exported(programs.exported(net.eval(), shape), **options)


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("export", [programs.exported, programs.decomposed])
@pytest.mark.parametrize(
    "name", ["conv same", "residual", "concat", "softplus", "prelu"]
)
def test_the_model_computes_what_torch_export_computes(name, export):
    data = export(nets.settled(nets.IMAGE_NETS[name]()), nets.IMAGE)
    model, theirs = load_exported(data), programs.reference(data)
    for rows in (2, 7):
        points = drawn(rows, *nets.IMAGE)
        torch.testing.assert_close(
            model.function(points), theirs(points), rtol=1e-6, atol=1e-6
        )


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("name", ["residual", "concat", "softmax"])
def test_a_program_of_a_fixed_batch_scores_each_sample_as_torch_export_does(name, rows):
    data = programs.fixed(nets.settled(nets.IMAGE_NETS[name]()), nets.IMAGE, rows)
    model, theirs = load_exported(data), programs.reference(data)
    points = drawn(3 * rows, *nets.IMAGE)
    expected = torch.cat([theirs(chunk.clone()) for chunk in points.split(rows)])
    torch.testing.assert_close(model.function(points), expected, rtol=1e-5, atol=1e-6)


def test_what_is_known_of_a_model():
    data = programs.exported(nets.settled(nets.mlp(6, 5, 3)), nets.TABLE)
    model = load_exported(data)
    assert model.sha256 == hashlib.sha256(data).hexdigest()
    assert model.format == "torch.export"
    assert model.input_shape == (6,)
    assert model.classes == 3
    assert model.parameters == 6 * 5 + 5 + 5 * 3 + 3
    assert model.dtype is torch.float32


@pytest.mark.parametrize(
    ("build", "kind"),
    [
        (lambda: nets.mlp(6, 5, 3), OutputKind.LOGITS),
        (
            lambda: nn.Sequential(nets.mlp(6, 3), nn.Softmax(1)),
            OutputKind.PROBABILITIES,
        ),
        (
            lambda: nn.Sequential(nets.mlp(6, 3), nn.LogSoftmax(1)),
            OutputKind.LOG_PROBABILITIES,
        ),
        (lambda: nn.Sequential(nets.mlp(6, 1), nn.Flatten(0)), OutputKind.SINGLE_LOGIT),
    ],
)
def test_the_output_kind_is_found_from_the_values(build, kind):
    model = load(nets.settled(build()))
    assert model.output is kind
    assert model.logits(torch.rand(4, 6)).shape == (4, model.classes)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_inputs_are_converted_to_the_models_dtype(dtype):
    net = nets.mlp(6, 5, 3).to(dtype).eval()
    example = (torch.zeros(2, 6, dtype=dtype),)
    whole = torch.export.export(net, example, dynamic_shapes=(({0: programs.BATCH}),))
    model = load_exported(programs.saved(whole))
    assert model.dtype is dtype
    assert model.logits(torch.rand(2, 6)).dtype is dtype


def test_tensors_that_share_a_storage_share_it_again():
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    net[2].weight = net[0].weight
    model = load(nets.settled(net), (4,))
    points = drawn(5, 4)
    torch.testing.assert_close(model.function(points), net(points))
    held = list(model.artifact.tensors().values())
    assert len({tensor.untyped_storage().data_ptr() for tensor in held}) < len(held)


def test_gradients_reach_the_inputs_and_leave_them_and_the_weights_alone():
    model = load(nets.settled(nets.IMAGE_NETS["residual"]()), nets.IMAGE)
    points = drawn(3, *nets.IMAGE)
    watched = points.clone().requires_grad_()
    (slope,) = torch.autograd.grad(model.function(watched).sum(), watched)
    assert slope.abs().sum() > 0
    assert torch.equal(watched.detach(), points)
    assert all(parameter.grad is None for parameter in model.artifact.parameters())


class InPlace(nn.Module):
    """Normalises its own input in place."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x -= 0.5
        return self.head(x)


def test_a_model_that_changes_its_input_gets_a_copy():
    model = load(nets.settled(InPlace()))
    points = torch.ones(2, 6)
    model.function(points)
    assert torch.equal(points, torch.ones(2, 6))


def test_another_input_shape_is_refused():
    with pytest.raises(InputShapeError, match="of shape 6, not 2x3"):
        load(nets.mlp(6, 3), input_shape=(2, 3))
    assert load(nets.mlp(6, 3), input_shape=(6,)).input_shape == (6,)


def test_a_dynamic_height_is_asked_for():
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    height = torch.export.Dim("height", min=4)
    whole = torch.export.export(
        net.eval(),
        (torch.zeros(2, *nets.IMAGE),),
        dynamic_shapes=(({0: programs.BATCH, 2: height}),),
    )
    data = programs.saved(whole)
    with pytest.raises(InputShapeError, match="of any shape 2x\\?x8") as caught:
        load_exported(data)
    assert "--input-shape" in caught.value.remedy
    assert load_exported(data, input_shape=(2, 9, 8)).input_shape == (2, 9, 8)


def test_a_model_without_a_batch_dimension_is_refused():
    whole = torch.export.export(nn.Linear(6, 3).eval(), (torch.zeros(6),))
    with pytest.raises(InputShapeError, match="without a batch"):
        load_exported(programs.saved(whole))


@pytest.mark.parametrize("where", ["weight", "running_var"])
def test_weights_that_are_not_finite_are_refused(where):
    net = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)).eval()
    getattr(net[1], where).data[0] = torch.nan
    with pytest.raises(UnsoundModelError, match="NaN or infinite"):
        load(net)


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(x), x


class TwoInputs(nn.Module):
    def forward(self, x, y):
        return x + y


class Counter(nn.Module):
    """Keeps state between calls."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        self.calls += 1
        return self.head(x) + self.calls


class Centred(nn.Module):
    """Subtracts the mean over the batch."""

    def forward(self, x):
        return x - x.mean(dim=0, keepdim=True)


def test_a_model_that_returns_two_tensors_is_refused():
    with pytest.raises(ArchiveError, match="returns 2 values"):
        load(Pair())


def test_a_model_with_two_inputs_is_refused():
    example = (torch.zeros(2, 6), torch.zeros(2, 6))
    whole = torch.export.export(TwoInputs(), example)
    with pytest.raises(ArchiveError, match="takes 2 inputs"):
        load_exported(programs.saved(whole))


@pytest.mark.parametrize("export", [programs.exported, programs.decomposed])
def test_a_model_with_state_is_refused(export):
    with pytest.raises(ArchiveError, match="state between calls"):
        load_exported(export(Counter().eval(), nets.TABLE))


class HiddenCounter(nn.Module):
    """Keeps state in a buffer that it changes by another name."""

    def __init__(self):
        super().__init__()
        self.register_buffer("row", torch.zeros(6))
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        row = self.row.type_as(x)
        row += 1
        return self.head(x + row)


def test_a_model_with_hidden_state_is_refused():
    with pytest.raises(ModelLoadError, match="keeps state"):
        load(HiddenCounter())


def test_a_model_of_integers_is_refused():
    net = nn.Sequential(nn.Embedding(4, 3), nn.Flatten(), nn.Linear(18, 2)).eval()
    whole = torch.export.export(net, (torch.zeros(2, 6, dtype=torch.int64),))
    with pytest.raises(ModelLoadError, match="type int64"):
        load_exported(programs.saved(whole))


@pytest.mark.parametrize(
    ("layer", "name"), [(nn.BatchNorm1d(5), "batch_norm"), (nn.Dropout(0.5), "dropout")]
)
def test_a_layer_in_train_mode_is_refused_by_name(layer, name):
    net = nn.Sequential(nn.Linear(6, 5), layer, nn.Linear(5, 3)).train()
    with pytest.raises(ArchiveError, match=f"'{name}' runs in train mode") as caught:
        load_exported(programs.exported(net, nets.TABLE))
    assert "eval()" in caught.value.remedy


def test_a_fixed_batch_whose_samples_are_mixed_is_refused():
    for rows in (1, 2):
        with pytest.raises(ModelLoadError, match=f"batches of {rows} and mixes"):
            load_exported(programs.fixed(Centred(), (3,), rows))


def test_a_huge_fixed_batch_is_refused():
    net = nets.settled(nets.mlp(6, 3))
    with pytest.raises(ModelLoadError, match="fixed to batches of 5000") as caught:
        load_exported(programs.fixed(net, nets.TABLE, 5000))
    assert "Dim" in caught.value.remedy


def test_loading_leaves_the_global_generator_alone():
    data = programs.exported(nets.settled(nets.mlp(6, 3)), nets.TABLE)
    before = torch.random.get_rng_state()
    load_exported(data)
    assert torch.equal(before, torch.random.get_rng_state())
