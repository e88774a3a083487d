"""A trained model as a file that an evaluation accepts.

What was written is scanned and loaded as an upload would be, and must answer as the
model does, before the file appears under its name.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.jit.frontend import FrontendError

from robustcert.archive.inspect import inspect
from robustcert.errors import ModelLoadError
from robustcert.models.exported import load_exported
from robustcert.models.interface import LoadedModel
from robustcert.models.torchscript import error_line, load_torchscript
from robustcert.train.checkpoint import write_whole
from robustcert.train.interface import drawn_from
from robustcert.train.plain import plain

Shape = tuple[int, ...]

PROGRAM_ENDING = ".pt2"
PROBES = 8
ALIKE = 1e-4
"""Largest difference between model and file, relative to the largest output."""

PLAIN = "Build the model of torch.nn's modules, with a forward of tensor operations."

_PROBES = 7


@dataclass(frozen=True, slots=True)
class SavedModel:
    """A model file.

    Attributes:
        path: where it lies.
        format: ``torchscript`` or ``torch.export``.
        sha256: of its bytes.
    """

    path: Path
    format: str
    sha256: str


@dataclass(frozen=True, slots=True)
class _Format:
    """How files of one format are made and read."""

    name: str
    write: Callable[[nn.Module, Shape], bytes]
    load: Callable[..., LoadedModel]


def save_model(model: nn.Module, input_shape: Shape, path: Path) -> SavedModel:
    """Write ``model`` as a torch.export program (``.pt2``) or else as TorchScript.

    Parametrised layers are written out; the model itself is not changed.

    Args:
        model: on any device.
        input_shape: without the batch.
        path: the ending ``.pt2`` chooses the format.

    Raises:
        ModelLoadError: the model cannot be exported, or its file answers otherwise.
        ArchiveError: the evaluation's scan would refuse the file.
        UsageError: it cannot be written.
    """
    kind = _EXPORTED if path.suffix == PROGRAM_ENDING else _TORCHSCRIPT
    copy = plain(model).cpu().eval().requires_grad_(requires_grad=False)
    data = kind.write(copy, input_shape)
    inspect(data)
    _check_alike(copy, kind.load(data, input_shape=input_shape))
    write_whole(path, data)
    return SavedModel(path, kind.name, hashlib.sha256(data).hexdigest())


def _scripted(model: nn.Module, _: Shape) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.*")
        try:
            torch.jit.save(torch.jit.script(model), buffer)
        except (RuntimeError, FrontendError, OSError, TypeError) as error:
            raise ModelLoadError(
                f"the model cannot be written as TorchScript: {error_line(error)}",
                remedy=PLAIN,
            ) from error
    return buffer.getvalue()


def _exported(model: nn.Module, shape: Shape) -> bytes:
    like = next(model.parameters())
    sample = like.new_zeros((2, *shape))
    sizes = ({0: torch.export.Dim("batch")},)
    buffer = io.BytesIO()
    try:
        program = torch.export.export(model, (sample,), dynamic_shapes=sizes)
    except (RuntimeError, ValueError, TypeError) as error:
        raise ModelLoadError(
            f"the model cannot be exported: {error_line(error)}", remedy=PLAIN
        ) from error
    torch.export.save(program, buffer)
    return buffer.getvalue()


def _check_alike(model: nn.Module, loaded: LoadedModel) -> None:
    """Compare what the model and its file return for random inputs."""
    shape = (PROBES, *loaded.input_shape)
    inputs = torch.rand(shape, generator=drawn_from(0, _PROBES)).to(loaded.dtype)
    with torch.no_grad():
        wanted, found = model(inputs), loaded.function(inputs)
    gap = float((wanted - found).abs().max())
    if not gap <= ALIKE * max(1.0, float(wanted.abs().max())):
        raise ModelLoadError(
            f"the written file answers otherwise than the model, by {gap:g}",
            remedy=PLAIN,
        )


_TORCHSCRIPT = _Format("torchscript", _scripted, load_torchscript)
_EXPORTED = _Format("torch.export", _exported, load_exported)
