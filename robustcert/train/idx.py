"""Files in the idx format, plain or gzipped, and folders of them.

A header names the type and the sizes; the numbers follow, most significant byte first.
A file is read up to the sizes it declares and refused where it holds more or less, so
a small gzip file cannot fill the memory.

Reference:
    LeCun, Cortes, Burges. The MNIST database of handwritten digits, file formats.
"""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from robustcert.errors import SamplesError
from robustcert.train.interface import Batch

LARGEST = 2 * 1024**3
"""Bytes an array may have."""

LARGEST_RANK = 4
GZIP_MARK = b"\x1f\x8b"
IDX_REMEDY = "Give the file as it was published, plain or gzipped."

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@dataclass(frozen=True, slots=True, eq=False)
class IdxFolder:
    """The two published parts of a set such as MNIST.

    Attributes:
        training: ``(N, 1, H, W)`` images, float32 in [0, 1], and int64 labels.
        test: the same.
    """

    training: Batch
    test: Batch


def idx_folder(folder: Path) -> IdxFolder:
    """The images and labels of a folder with the four files of MNIST's names.

    Raises:
        SamplesError: a file is missing or unusable, or labels do not fit images.
    """
    return IdxFolder(_part(folder, "train"), _part(folder, "t10k"))


def read_idx(path: Path) -> Tensor:
    """The array of an idx file, gzipped or not, in its own dtype and sizes.

    Raises:
        SamplesError: the file cannot be read, is no idx file, is larger than
            :data:`LARGEST`, or does not hold exactly what its header declares.
    """
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == GZIP_MARK
        with gzip.open(path) if zipped else path.open("rb") as file:
            return _array(file, path.name)
    except (OSError, EOFError, zlib.error) as error:
        raise SamplesError(
            f"{path} cannot be read: {error}", remedy=IDX_REMEDY
        ) from error


def _array(file: BinaryIO | gzip.GzipFile, name: str) -> Tensor:
    dtype, rank = _kind(file.read(4), name)
    header = file.read(4 * rank)
    if len(header) != 4 * rank:
        raise SamplesError(f"{name} ends within its header", remedy=IDX_REMEDY)
    sizes = [int(size) for size in np.frombuffer(header, ">u4")]
    count = math.prod(sizes) * dtype.itemsize
    if count > LARGEST:
        raise SamplesError(
            f"{name} declares {count} bytes, above {LARGEST}",
            remedy="Split the set over several files.",
        )
    data = file.read(count + 1)
    if len(data) != count:
        found = "more" if len(data) > count else str(len(data))
        raise SamplesError(
            f"{name} declares {count} bytes and holds {found}", remedy=IDX_REMEDY
        )
    array = np.frombuffer(data, dtype).reshape(sizes)
    return torch.from_numpy(array.astype(dtype.newbyteorder("=")))


def _kind(mark: bytes, name: str) -> tuple[np.dtype[np.generic], int]:
    """The type of the numbers and how many sizes follow."""
    fits = len(mark) == 4 and mark[:2] == b"\x00\x00" and mark[2] in _TYPES
    if not fits or not 0 < mark[3] <= LARGEST_RANK:
        raise SamplesError(f"{name} is no idx file", remedy=IDX_REMEDY)
    return np.dtype(_TYPES[mark[2]]), mark[3]


def _part(folder: Path, part: str) -> Batch:
    images = read_idx(_file(folder, f"{part}-images", "idx3"))
    labels = read_idx(_file(folder, f"{part}-labels", "idx1"))
    if images.dim() != 3 or images.dtype != torch.uint8:
        raise SamplesError(
            f"{part}-images holds {images.dtype} of {images.dim()} dimensions, not "
            "bytes of three",
            remedy=IDX_REMEDY,
        )
    if labels.shape != images.shape[:1] or labels.is_floating_point():
        raise SamplesError(
            f"{part}-labels has shape {tuple(labels.shape)} for {len(images)} images",
            remedy=IDX_REMEDY,
        )
    return Batch(images[:, None].float() / 255.0, labels.long())


def _file(folder: Path, stem: str, kind: str) -> Path:
    """The file, under either of the two names in use, gzipped or not."""
    names = [
        f"{stem}{joint}{kind}-ubyte{ending}"
        for joint in ("-", ".")
        for ending in ("", ".gz")
    ]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise SamplesError(
        f"{folder} holds no {names[0]}",
        remedy="Give a folder with the images and labels of both parts: "
        "train-images-idx3-ubyte and its three companions, plain or gzipped.",
    )
