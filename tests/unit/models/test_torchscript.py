"""What loads, what is found out about it, and what is refused."""

from __future__ import annotations

import hashlib

import pytest
import torch
from torch import nn

from robustcert.errors import InputShapeError, ModelLoadError, UnsoundModelError
from robustcert.models.input_shape import candidate_shapes
from robustcert.models.samples import load_samples
from robustcert.models.torchscript import load_torchscript
from robustcert.results.report import OutputKind
from tests.models import nets


def load(net, **options):
    return load_torchscript(nets.scripted(net.eval()), **options)


def test_a_model_is_known_by_the_hash_of_its_bytes():
    data = nets.scripted(nets.mlp(6, 3))
    assert load_torchscript(data).sha256 == hashlib.sha256(data).hexdigest()


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
        (lambda: nets.mlp(6, 5, 1), OutputKind.SINGLE_LOGIT),
        (lambda: nn.Sequential(nets.mlp(6, 1), nn.Flatten(0)), OutputKind.SINGLE_LOGIT),
    ],
)
def test_the_output_kind_is_found_from_the_values(build, kind):
    model = load(nets.settled(build()), input_shape=(6,))
    assert model.output is kind
    logits = model.logits(torch.rand(4, 6))
    assert logits.shape == (4, model.classes)
    assert model.classes == (2 if kind is OutputKind.SINGLE_LOGIT else 3)


def test_every_output_kind_gives_logits_with_the_same_winner():
    body = nets.settled(nets.mlp(6, 5, 3))
    x = torch.randn(32, 6, generator=torch.Generator().manual_seed(1))
    want = load(body, input_shape=(6,)).logits(x).argmax(1)
    for last in (nn.Softmax(1), nn.LogSoftmax(1)):
        got = load(nn.Sequential(body, last), input_shape=(6,)).logits(x).argmax(1)
        assert torch.equal(got, want)


def test_the_input_shape_is_found_from_the_first_weight():
    assert load(nets.mlp(784, 4)).input_shape == (1, 28, 28)
    assert load(nn.Linear(7, 2)).input_shape == (7,)
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2 * 30 * 30, 2))
    assert load(net).input_shape == (3, 32, 32)


def test_an_ambiguous_input_shape_is_asked_for():
    pooled = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(InputShapeError, match="several fit") as caught:
        load(pooled)
    assert "--input-shape" in caught.value.remedy
    assert load(pooled, input_shape=(3, 40, 40)).input_shape == (3, 40, 40)


def test_a_wrong_input_shape_is_refused():
    with pytest.raises(InputShapeError, match="fails on inputs of shape"):
        load(nets.mlp(6, 3), input_shape=(7,))


def test_weights_that_are_not_finite_are_refused():
    net = nets.mlp(6, 3)
    net[1].weight.data[0, 0] = torch.nan
    with pytest.raises(UnsoundModelError, match="NaN or infinite"):
        load(net)


def test_frozen_weights_that_are_not_finite_are_refused():
    net = nets.mlp(6, 3).eval()
    net[1].weight.data[0, 0] = torch.inf
    with pytest.raises(UnsoundModelError):
        load_torchscript(nets.frozen(net), input_shape=(6,))


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(x), x


def test_a_model_that_returns_a_tuple_is_refused():
    with pytest.raises(ModelLoadError, match="returns a tuple") as caught:
        load(Pair(), input_shape=(6,))
    assert "logits alone" in caught.value.remedy


def test_a_model_that_returns_an_image_is_refused():
    with pytest.raises(ModelLoadError, match=r"not \(N, classes\)"):
        load(nn.Conv2d(2, 2, 3), input_shape=nets.IMAGE)


def test_bytes_that_are_no_archive_are_refused():
    with pytest.raises(ModelLoadError, match=r"torch\.jit\.load"):
        load_torchscript(b"no archive")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_inputs_are_converted_to_the_models_dtype(dtype):
    model = load(nets.mlp(6, 5, 3).to(dtype), input_shape=(6,))
    assert model.dtype is dtype
    assert model.logits(torch.rand(2, 6)).dtype is dtype


def test_a_frozen_archive_still_counts_its_parameters():
    net = nets.mlp(6, 5, 3).eval()
    model = load_torchscript(nets.frozen(net), input_shape=(6,))
    assert model.parameters == 6 * 5 + 5 + 5 * 3 + 3


def test_candidates_come_from_the_first_matrix():
    assert candidate_shapes([(12,), (5, 12)]) == [(3, 2, 2), (12,)]
    assert candidate_shapes([]) == []


def test_loading_leaves_the_global_generator_alone():
    data = nets.scripted(nets.mlp(6, 3))
    before = torch.random.get_rng_state()
    load_torchscript(data, input_shape=(6,))
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_trained_models_load_and_are_right_as_often_as_their_manifest_says(trained):
    known = {"mnist_conv_kw": 0.982, "mnist_mlp_6x100": 0.961, "mnist_mlp_lipsdp": 0.96}
    samples = load_samples(str(trained / "samples" / "mnist_test.npz")).first(1000)
    for name, clean in known.items():
        model = load_torchscript((trained / "models" / f"{name}.ts.pt").read_bytes())
        right = model.logits(samples.inputs).argmax(1) == samples.labels
        assert right.double().mean().item() == pytest.approx(clean, abs=0.02)
