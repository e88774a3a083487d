"""Sample files: what is read, and what is refused with a remedy."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from robustcert.errors import InputShapeError, SamplesError, UnknownNameError
from robustcert.models.builtin import SAMPLE_SETS, sample_set
from robustcert.models.samples import (
    Samples,
    check_fit,
    load_samples,
    samples_from_bytes,
)
from robustcert.models.torchscript import load_torchscript
from robustcert.results.threat_model import UNIT_BOX, Box
from tests.models import nets


def npz(**arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def read(**arrays) -> Samples:
    return samples_from_bytes(npz(**arrays), "mine")


def test_uint8_is_divided_by_255():
    samples = read(inputs=np.array([[0, 51, 255]], np.uint8), labels=np.array([1]))
    torch.testing.assert_close(samples.inputs, torch.tensor([[0.0, 0.2, 1.0]]))
    assert samples.labels.dtype is torch.int64


def test_floats_are_taken_as_they_are():
    x = np.array([[-0.5, 2.0]])
    assert torch.equal(read(inputs=x, labels=np.array([0])).inputs, torch.from_numpy(x))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"inputs": np.zeros((2, 3))}, "lacks labels"),
        ({"labels": np.zeros(2, int)}, "lacks inputs"),
        ({"inputs": np.zeros((0, 3)), "labels": np.zeros(0, int)}, "empty"),
        ({"inputs": np.zeros(3), "labels": np.zeros(3, int)}, "not \\(N, \\*shape\\)"),
        ({"inputs": np.zeros((2, 3)), "labels": np.zeros(3, int)}, "shape"),
        ({"inputs": np.zeros((2, 3)), "labels": np.zeros(2)}, "not integers"),
        ({"inputs": np.zeros((2, 3)), "labels": np.array([0, -1])}, "start at 0"),
        ({"inputs": np.zeros((1, 3), int), "labels": np.array([0])}, "uint8"),
        ({"inputs": np.full((1, 3), np.nan), "labels": np.array([0])}, "NaN"),
        ({"inputs": np.array([[object()]]), "labels": np.array([0])}, "cannot be read"),
    ],
)
def test_unusable_arrays_are_refused_with_a_remedy(arrays, message):
    with pytest.raises(SamplesError, match=message) as caught:
        read(**arrays)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "data", [b"", b"PK", b"\x93NUMPY", npz(inputs=np.zeros(1))[:60]]
)
def test_bytes_that_are_no_archive_are_refused(data):
    with pytest.raises(SamplesError):
        samples_from_bytes(data, "mine")


def test_a_missing_file_is_refused_with_the_names_there_are():
    with pytest.raises(SamplesError) as caught:
        load_samples("nowhere.npz")
    assert all(name in caught.value.remedy for name in SAMPLE_SETS)
    with pytest.raises(UnknownNameError):
        sample_set("nowhere")


@pytest.mark.parametrize("name", SAMPLE_SETS)
def test_built_in_sets_load_and_are_whole(name):
    samples = load_samples(name)
    assert len(samples) == 500
    assert samples.inputs.shape[1:] == (1, 28, 28)
    assert set(samples.labels.tolist()) == set(range(10))


def model(classes=3):
    return load_torchscript(nets.scripted(nets.mlp(6, classes)), input_shape=(6,))


def samples(inputs, labels):
    return Samples(torch.as_tensor(inputs), torch.as_tensor(labels), "mine", "0" * 64)


def test_samples_of_another_shape_do_not_fit():
    with pytest.raises(InputShapeError, match="takes"):
        check_fit(samples(torch.zeros(2, 7), [0, 1]), model(), UNIT_BOX)


def test_labels_beyond_the_classes_do_not_fit():
    with pytest.raises(SamplesError, match="3 classes"):
        check_fit(samples(torch.zeros(2, 6), [0, 3]), model(), UNIT_BOX)


def test_samples_outside_the_box_do_not_fit():
    outside = samples(torch.full((2, 6), 1.5), [0, 1])
    with pytest.raises(SamplesError, match="outside the box") as caught:
        check_fit(outside, model(), UNIT_BOX)
    assert "--box" in caught.value.remedy
    check_fit(outside, model(), Box(0.0, 2.0))
