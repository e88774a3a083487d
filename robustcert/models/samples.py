"""Sample sets: inputs and labels, by name or from an .npz file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from robustcert.errors import InputShapeError, SamplesError
from robustcert.models.builtin import SAMPLE_SETS
from robustcert.models.interface import LoadedModel
from robustcert.models.sample_file import read_samples
from robustcert.results.threat_model import Box


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Labelled inputs.

    Attributes:
        inputs: ``(N, *shape)`` floating point, finite, N >= 1.
        labels: ``(N,)`` int64, >= 0.
        name: of the built-in set, or the file's stem.
        sha256: of the file's bytes.
    """

    inputs: Tensor
    labels: Tensor
    name: str
    sha256: str

    def __post_init__(self) -> None:
        if len(self.inputs) == 0:
            raise SamplesError("the sample set is empty")
        if self.labels.shape != (len(self.inputs),):
            raise SamplesError(
                f"{len(self.inputs)} inputs come with labels of shape "
                f"{tuple(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.inputs)

    def first(self, count: int | None) -> Samples:
        """The first ``count`` samples, or all where there are fewer."""
        return Samples(self.inputs[:count], self.labels[:count], self.name, self.sha256)


def load_samples(name_or_path: str) -> Samples:
    """A built-in set by its name, or an .npz file by its path.

    Raises:
        SamplesError: there is neither, or the file is unusable.
    """
    if name_or_path in SAMPLE_SETS:
        return samples_from_bytes(SAMPLE_SETS[name_or_path].read(), name_or_path)
    path = Path(name_or_path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SamplesError(
            f"no sample set and no readable file is called {name_or_path!r}",
            remedy=f"Give an .npz file, or one of: {', '.join(SAMPLE_SETS)}.",
        ) from error
    return samples_from_bytes(data, path.stem)


def samples_from_bytes(data: bytes, name: str) -> Samples:
    """The samples in an .npz file's bytes.

    Raises:
        SamplesError: they are unusable.
    """
    arrays = read_samples(data)
    return Samples(
        torch.from_numpy(arrays.inputs),
        torch.from_numpy(arrays.labels),
        name,
        arrays.sha256,
    )


def check_fit(samples: Samples, model: LoadedModel, box: Box) -> None:
    """Raise unless ``model`` can be evaluated on ``samples`` in ``box``.

    Raises:
        InputShapeError: the samples have another shape than the model's input.
        SamplesError: a label is no class of the model, or an input lies outside.
    """
    shape = tuple(samples.inputs.shape[1:])
    if shape != model.input_shape:
        raise InputShapeError(
            f"samples have shape {shape}, the model takes {model.input_shape}",
            remedy=_fitting(shape, model),
        )
    highest = int(samples.labels.max())
    if highest >= model.classes:
        raise SamplesError(
            f"labels go up to {highest}, but the model has {model.classes} classes",
            remedy="Check that labels count from 0 and fit the model.",
        )
    low, high = float(samples.inputs.min()), float(samples.inputs.max())
    if low < box.low or high > box.high:
        raise SamplesError(
            f"inputs reach from {low:.4g} to {high:.4g}, outside the box "
            f"[{box.low:g}, {box.high:g}]",
            remedy="Scale the samples, or declare the box they live in: --box LO HI.",
        )


def _fitting(shape: tuple[int, ...], model: LoadedModel) -> str:
    """What to do about samples of another shape than the model's."""
    if model.format == "onnx" and math.prod(shape) == math.prod(model.input_shape):
        words = ",".join(map(str, shape))
        return (
            f"Name the samples' shape, --input-shape {words}, so that their numbers "
            "are given to the model row by row; or reshape the samples."
        )
    return "Reshape the samples, or name the shape: --input-shape C,H,W."
