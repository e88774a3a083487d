"""What the scan of a model file found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Member:
    """One file inside the archive.

    Attributes:
        name: its path below the archive's one root folder.
        size: bytes once inflated.
        stored: ``True`` where the bytes are stored, ``False`` where deflated.
        start: offset of its bytes in the file.
        packed: bytes it takes in the file.
    """

    name: str
    size: int
    stored: bool
    start: int
    packed: int


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    """A model file that the scan accepts.

    Attributes:
        format: ``torchscript``, ``torch.export`` or ``onnx``.
        root: the archive's one top folder; empty for ONNX, which is no archive.
        members: every file in it, in the archive's order.
        size: bytes of the whole file.
        code_size: bytes of TorchScript code, inflated.
        version: of the format, or of ONNX's operators.
        classes: number of classes and functions the code defines.
        tensors: number of stored tensors' storages, or of ONNX's tensors.
    """

    format: str
    root: str
    members: tuple[Member, ...]
    size: int
    code_size: int
    version: int
    classes: int
    tensors: int
