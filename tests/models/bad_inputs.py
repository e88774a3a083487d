"""Files that a user may bring by mistake, and what is to be said about each."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from tests.models import nets

SIZE = 6


@dataclass(frozen=True, slots=True)
class BadInput:
    """A model file, a sample file, and the kind of error they make together."""

    model: Callable[[], bytes]
    kind: str
    samples: Callable[[], bytes] = lambda: good_samples()


def good_model() -> bytes:
    return nets.scripted(nets.settled(nets.mlp(SIZE, 5, 3)))


def good_samples(**arrays: np.ndarray) -> bytes:
    good = {
        "inputs": np.full((4, SIZE), 0.5, np.float32),
        "labels": np.array([0, 1, 2, 0]),
    }
    buffer = io.BytesIO()
    np.savez(buffer, **{**good, **arrays})
    return buffer.getvalue()


def pickled(thing: object, *, legacy: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(thing, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def with_nan() -> bytes:
    net = nets.settled(nets.mlp(SIZE, 5, 3))
    net[1].weight.data[0, 0] = torch.nan
    return nets.scripted(net)


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(SIZE, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.head(x), x


BAD_INPUTS: dict[str, BadInput] = {
    "no archive": BadInput(lambda: b"\x00 this is no archive", "archive-error"),
    "empty file": BadInput(lambda: b"", "archive-error"),
    "state dict": BadInput(
        lambda: pickled(nets.mlp(SIZE, 3).state_dict(), legacy=False), "archive-error"
    ),
    "eager pickle": BadInput(
        lambda: pickled(nets.mlp(SIZE, 3), legacy=True), "archive-error"
    ),
    "NaN weights": BadInput(with_nan, "unsound-model-error"),
    "tuple": BadInput(lambda: nets.scripted(Pair()), "model-load-error"),
    "wrong input shape": BadInput(
        good_model,
        "input-shape-error",
        lambda: good_samples(inputs=np.full((4, 7), 0.5, np.float32)),
    ),
    "labels out of range": BadInput(
        good_model, "samples-error", lambda: good_samples(labels=np.array([0, 1, 2, 3]))
    ),
    "outside the box": BadInput(
        good_model,
        "samples-error",
        lambda: good_samples(inputs=np.full((4, SIZE), 1.5, np.float32)),
    ),
    "empty sample set": BadInput(
        good_model,
        "samples-error",
        lambda: good_samples(
            inputs=np.zeros((0, SIZE), np.float32), labels=np.zeros(0, int)
        ),
    ),
}
