"""A training on the disk after each epoch: ended and resumed, it gives the same bits.

A file is written beside its place and renamed, so it is whole or not there. It says
what training it belongs to and is refused by another. It is read without unpickling
anything but tensors, numbers and strings.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from robustcert.errors import UsageError
from robustcert.train.feed import Extra
from robustcert.train.interface import Batch, Epoch, Plan, State, TrainingData
from robustcert.train.selection import Best

VERSION = 1
"""Of the files. Another version is refused."""

ANEW = "Start the training anew, or give its checkpoint another name."


_UNREADABLE = (
    *(OSError, RuntimeError, EOFError, pickle.UnpicklingError),  # in torch.load
    *(KeyError, TypeError, AttributeError),  # of a content that we did not write
)


@runtime_checkable
class Stateful(Protocol):
    """What goes on from a state: a penalty, a weight, some fits."""

    def state(self) -> State:
        """What ``restore`` needs."""
        ...

    def restore(self, state: State) -> None:
        """Go on from a ``state``."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A training after some epochs.

    Attributes:
        epochs: the record so far.
        best: by the training's selection.
        model: its parameters and buffers.
        optimiser: its moments.
        parts: of the trainer that have a state: fit, penalty, weight.
    """

    epochs: tuple[Epoch, ...]
    best: Best
    model: dict[str, Tensor]
    optimiser: dict[str, Any]
    parts: dict[str, State]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The place of one training's snapshot.

    Attributes:
        path: of the file.
        about: what the training is, beyond its plan, data and net: the trainer's name
            and options, the selection.
    """

    path: Path
    about: Mapping[str, str]

    def read(self, mark: Mapping[str, str]) -> Snapshot | None:
        """The snapshot; ``None`` where no file is.

        Raises:
            UsageError: the file cannot be read, or belongs to another training.
        """
        try:
            found = self._checked(_tensors(self.path), mark)
            return _snapshot(found)
        except FileNotFoundError:
            return None
        except _UNREADABLE as error:
            raise UsageError(
                f"the checkpoint {self.path} cannot be read", remedy=ANEW
            ) from error

    def write(self, snapshot: Snapshot, mark: Mapping[str, str]) -> None:
        """Replace the file.

        Raises:
            UsageError: it cannot be written.
        """
        best = snapshot.best
        content = {
            "version": VERSION,
            "mark": {**mark, **self.about},
            "epochs": [asdict(epoch) for epoch in snapshot.epochs],
            "best": {
                "number": best.number,
                "score": best.score,
                "parameters": best.parameters,
            },
            "model": snapshot.model,
            "optimiser": snapshot.optimiser,
            "parts": snapshot.parts,
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_whole(self.path, buffer.getvalue())

    def _checked(self, content: object, mark: Mapping[str, str]) -> dict[str, Any]:
        if not isinstance(content, dict) or content.get("version") != VERSION:
            raise UsageError(f"{self.path} is no checkpoint of a training", remedy=ANEW)
        found, wanted = content["mark"], {**mark, **self.about}
        other = [name for name in wanted if found.get(name) != wanted[name]]
        if other:
            raise UsageError(
                f"the checkpoint {self.path} belongs to another training: "
                f"{' and '.join(other)} {'differs' if len(other) == 1 else 'differ'}",
                remedy=ANEW,
            )
        return content


def mark_of(
    model: nn.Module, data: TrainingData, plan: Plan, extra: Extra | None
) -> dict[str, str]:
    """What a snapshot must belong to for its training to go on with the same numbers.

    Args:
        model: of any parameters; only their names and shapes count.
        data: every example counts.
        plan: all of it.
        extra: every example and their share count.
    """
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    return {
        "net": str(shapes),
        "data": _digest(data.training, data.reserve, data.validation),
        "extra": "" if extra is None else f"{extra.share} {_digest(extra.examples)}",
        "plan": str(asdict(plan)),
        "torch": str(torch.__version__),
    }


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is whole or not there, whenever the process ends.

    Raises:
        UsageError: it cannot be written.
    """
    beside = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}",
            remedy="Choose a file in a folder you may write to.",
        ) from error


def _snapshot(content: Mapping[str, Any]) -> Snapshot:
    return Snapshot(
        tuple(Epoch(**line) for line in content["epochs"]),
        Best(**content["best"]),
        content["model"],
        content["optimiser"],
        content["parts"],
    )


def _tensors(path: Path) -> object:
    """What a file holds, if that is tensors, numbers and strings alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about pickles that are refused all the same
        return torch.load(path, map_location="cpu", weights_only=True)


def _digest(*parts: Batch) -> str:
    found = hashlib.sha256()
    for part in parts:
        for tensor in (part.inputs, part.targets):
            array = tensor.detach().cpu().contiguous()
            found.update(str((array.dtype, tuple(array.shape))).encode())
            found.update(array.numpy().tobytes())
    return found.hexdigest()
