"""Examples by name or path, split into the parts of a training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from robustcert.errors import SamplesError, UsageError
from robustcert.models.builtin import SAMPLE_SETS
from robustcert.models.samples import load_samples
from robustcert.results.threat_model import Box
from robustcert.train.idx import idx_folder
from robustcert.train.interface import Batch, TrainingData, drawn_from

_SPLIT = 2


@dataclass(frozen=True, slots=True)
class Shares:
    """How much of the examples is not fitted.

    Attributes:
        reserve: for pairs.
        validation: for selection.

    Raises:
        UsageError: a share is negative, or nothing is left for training.
    """

    reserve: float = 0.1
    validation: float = 0.1

    def __post_init__(self) -> None:
        """Refuse shares that leave nothing."""
        fits = self.reserve >= 0.0 and self.validation >= 0.0
        if not (fits and self.reserve + self.validation < 1.0):
            raise UsageError(
                f"shares of {self.reserve:g} and {self.validation:g} leave nothing "
                "to train on",
                remedy="Give two shares of at least 0 that add up to less than 1.",
            )


EQUAL_TENTHS = Shares()


def load_examples(name_or_path: str) -> Batch:
    """All training examples of a built-in set, an .npz file or a folder of idx files.

    A folder's test part is left out. Inputs are float32, labels int64.

    Raises:
        SamplesError: there is none of these, or it is unusable.
    """
    path = Path(name_or_path)
    if name_or_path not in SAMPLE_SETS and path.is_dir():
        return idx_folder(path).training
    samples = load_samples(name_or_path)
    return Batch(samples.inputs.float(), samples.labels)


def load_training_data(
    name_or_path: str, seed: int, shares: Shares, box: Box
) -> TrainingData:
    """The examples of :func:`load_examples`, split.

    Args:
        name_or_path: of the examples.
        seed: of the split.
        shares: what is held back.
        box: that the inputs must lie in.

    Raises:
        SamplesError: the examples are unusable, or lie outside the box.
    """
    examples = load_examples(name_or_path)
    check_box(examples, box)
    name = name_or_path if name_or_path in SAMPLE_SETS else Path(name_or_path).stem
    return split(examples, seed, shares, box=box, name=name)


def split(
    examples: Batch,
    seed: int,
    shares: Shares = EQUAL_TENTHS,
    *,
    box: Box,
    name: str,
) -> TrainingData:
    """Deal the examples out to training, reserve and validation; each to one part.

    Args:
        examples: N of them.
        seed: the same one deals the same parts.
        shares: of N, rounded down.
        box: of the inputs.
        name: for the record.

    Raises:
        SamplesError: there are no examples.
    """
    count = len(examples)
    order = torch.randperm(count, generator=drawn_from(seed, _SPLIT))
    reserve = math.floor(shares.reserve * count)
    validation = math.floor(shares.validation * count)
    parts = torch.split(order, [count - reserve - validation, reserve, validation])
    training, held, judged = (examples.rows(part) for part in parts)
    return TrainingData(training, held, judged, box, name)


def check_box(examples: Batch, box: Box) -> None:
    """Refuse inputs outside the box; pairs and attacks would never look at them.

    Raises:
        SamplesError: an input lies outside, or is NaN.
    """
    low, high = float(examples.inputs.min()), float(examples.inputs.max())
    if not box.low <= low <= high <= box.high:
        raise SamplesError(
            f"inputs reach from {low:.4g} to {high:.4g}, outside the box "
            f"[{box.low:g}, {box.high:g}]",
            remedy="Scale the examples, or declare the box they live in: --box LO HI.",
        )


def check_alike(more: Batch, data: TrainingData) -> None:
    """Refuse examples that cannot stand in a batch with those of ``data``.

    Raises:
        SamplesError: their shape, the kind of their targets or a label differs.
    """
    first, other = data.training, more
    if first.inputs.shape[1:] != other.inputs.shape[1:]:
        raise SamplesError(
            f"extra inputs have shape {tuple(other.inputs.shape[1:])}, the training's "
            f"{tuple(first.inputs.shape[1:])}",
            remedy="Give extra examples of the training's shape.",
        )
    values = first.targets.is_floating_point()
    if values != other.targets.is_floating_point():
        raise SamplesError(
            "one of training and extra examples has labels, the other values",
            remedy="Give extra examples with targets of the same kind.",
        )
    highest = output_count(data) - 1
    if not values and int(other.targets.max()) > highest:
        raise SamplesError(
            f"extra labels go up to {int(other.targets.max())}, the training's to "
            f"{highest}",
            remedy="Check that the labels of both mean the same classes.",
        )


def output_count(data: TrainingData) -> int:
    """How many outputs a net needs: one a class, at least two, or one a value."""
    targets = data.training.targets
    if targets.is_floating_point():
        return int(targets.shape[1])
    parts = (data.training, data.reserve, data.validation)
    highest = max(int(part.targets.max()) for part in parts if len(part) > 0)
    return max(2, highest + 1)
