"""Sample files read without torch, without unpickling, in constant memory.

Every number is read once, in pieces: an inflated size is believed only while it is
counted, so a small file cannot fill the memory.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from robustcert.errors import SamplesError

_MOST_MEMBERS = 64
_LONGEST_HEADER = 4096
_PIECE = 2**20
_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    SyntaxError,
    zlib.error,
    zipfile.BadZipFile,
    NotImplementedError,  # an unknown compression
    RuntimeError,  # an encrypted member
)

Numbers = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class SamplesFacts:
    """What is in a sample file.

    Attributes:
        count: number of samples, at least 1.
        input_shape: of one sample.
        classes: the largest label plus one.
    """

    count: int
    input_shape: tuple[int, ...]
    classes: int


@dataclass(frozen=True, slots=True)
class _Header:
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_samples_facts(file: IO[bytes], limit: int) -> SamplesFacts:
    """Check every number of an .npz file with ``inputs`` and ``labels``.

    Args:
        file: open for reading, anywhere.
        limit: most bytes the arrays may have.

    Raises:
        SamplesError: says what is wrong with the file.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            _check_members(archive, limit)
            with archive.open("inputs.npy") as member:
                inputs = _checked_inputs(member, limit)
            with archive.open("labels.npy") as member:
                labels, classes = _checked_labels(member, limit)
    except _UNREADABLE as error:
        # The library's sentence may quote the file: only its kind is passed on.
        raise SamplesError(
            f"the file cannot be read as .npz ({type(error).__name__})"
        ) from error
    if labels != inputs.shape[0]:
        raise SamplesError(f"{inputs.shape[0]} inputs come with {labels} labels")
    return SamplesFacts(labels, inputs.shape[1:], classes)


def _check_members(archive: zipfile.ZipFile, limit: int) -> None:
    members = archive.infolist()
    names = [member.filename for member in members]
    if len(members) > _MOST_MEMBERS or len(set(names)) != len(names):
        raise SamplesError(f"the file has {len(members)} members, or one of them twice")
    for name in ("inputs.npy", "labels.npy"):
        if name not in names:
            raise SamplesError(f"the file has no array {name.removesuffix('.npy')!r}")
    if sum(member.file_size for member in members) > limit:
        raise SamplesError(f"the arrays have more than {limit} bytes")


def _checked_inputs(member: IO[bytes], limit: int) -> _Header:
    header = _header(member, "inputs", limit)
    if header.dtype.kind not in "uf" or (
        header.dtype.kind == "u" and header.dtype.itemsize != 1
    ):
        raise SamplesError(
            f"inputs are {header.dtype}; they may be uint8 or floating point"
        )
    if len(header.shape) < 2:
        raise SamplesError(f"inputs of shape {header.shape} are no samples")
    if 0 in header.shape:
        raise SamplesError("the sample set is empty")
    for piece in _pieces(member, header, "inputs"):
        if not np.isfinite(piece).all():
            raise SamplesError("inputs hold NaN or infinity")
    return header


def _checked_labels(member: IO[bytes], limit: int) -> tuple[int, int]:
    """The number of labels, and the largest plus one."""
    header = _header(member, "labels", limit)
    if header.dtype.kind not in "ui" or len(header.shape) != 1:
        raise SamplesError(
            f"labels are {header.dtype} of shape {header.shape}; "
            "they are one whole number a sample"
        )
    largest = -1
    for piece in _pieces(member, header, "labels"):
        if int(piece.min()) < 0:
            raise SamplesError("a label is negative")
        largest = max(largest, int(piece.max()))
    return header.shape[0], largest + 1


def _header(member: IO[bytes], name: str, limit: int) -> _Header:
    version = npy.read_magic(member)
    readers = {
        (1, 0): npy.read_array_header_1_0,
        (2, 0): npy.read_array_header_2_0,
    }
    if version not in readers:
        raise SamplesError(f"{name} use version {version} of the .npy format")
    shape, _, dtype = readers[version](member, max_header_size=_LONGEST_HEADER)
    header = _Header(shape, dtype)
    if dtype.hasobject or dtype.names is not None or dtype.subdtype is not None:
        raise SamplesError(f"{name} hold objects, not numbers")
    if any(side < 0 for side in shape) or header.bytes > limit:
        raise SamplesError(f"{name} claim the shape {shape}")
    return header


def _pieces(member: IO[bytes], header: _Header, name: str) -> Iterator[Numbers]:
    """The array's numbers, in pieces; exactly as many as the header says."""
    step = _PIECE // header.dtype.itemsize * header.dtype.itemsize
    left = header.bytes
    while left:
        data = member.read(min(step, left))
        if not data or len(data) % header.dtype.itemsize:
            raise SamplesError(f"{name} are shorter than their header says")
        left -= len(data)
        yield np.frombuffer(data, header.dtype)
    if member.read(1):
        raise SamplesError(f"{name} are longer than their header says")
