"""Nets as torch.export programs (.pt2), and such files taken apart and edited."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

BATCH = torch.export.Dim("batch")
PROGRAM = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"


def program(net: nn.Module, shape: tuple[int, ...]) -> torch.export.ExportedProgram:
    """The net as a program of any number of samples."""
    return _exported(net, (torch.zeros(2, *shape),), ({0: BATCH},))


def exported(net: nn.Module, shape: tuple[int, ...]) -> bytes:
    """The net as a file that takes any number of samples."""
    return saved(program(net, shape))


def fixed(net: nn.Module, shape: tuple[int, ...], batch: int) -> bytes:
    """The net as a file that takes ``batch`` samples, as users export it."""
    return saved(_exported(net, (torch.zeros(batch, *shape),), None))


def decomposed(net: nn.Module, shape: tuple[int, ...]) -> bytes:
    """The net as a file in the core set of ATen operators."""
    whole = program(net, shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own deprecations
        return saved(whole.run_decompositions())


def saved(whole: torch.export.ExportedProgram) -> bytes:
    """The file that torch writes of a program."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(whole, buffer)
    return buffer.getvalue()


def reference(data: bytes) -> nn.Module:
    """The module that torch.export itself makes of a file of our own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.load(io.BytesIO(data)).module()


def parts(data: bytes) -> dict[str, bytes]:
    """The archive's members by their names below the root."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {
            name.partition("/")[2]: archive.read(name) for name in archive.namelist()
        }


def packed(members: Mapping[str, bytes], *, kind: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of those members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, body in members.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), body, kind)
    return buffer.getvalue()


def edited(data: bytes, changes: Mapping[str, bytes | None]) -> bytes:
    """The archive with members replaced, added, or (``None``) left out."""
    members = {**parts(data), **changes}
    return packed({name: body for name, body in members.items() if body is not None})


def rewritten(
    data: bytes, change: Callable[[Any], object], member: str = PROGRAM
) -> bytes:
    """The archive after ``change`` has edited one of its JSON members."""
    record = json.loads(parts(data)[member])
    change(record)
    return edited(data, {member: json.dumps(record).encode()})


def nodes(record: Any) -> list[Any]:
    """The operator calls in a program's JSON."""
    return record["graph_module"]["graph"]["nodes"]


def _exported(
    net: nn.Module, example: tuple[torch.Tensor, ...], dynamic: Any
) -> torch.export.ExportedProgram:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(net, example, dynamic_shapes=dynamic)
