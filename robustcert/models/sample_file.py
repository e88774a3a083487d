"""Sample files (.npz) as arrays; torch-free, so that the web process can check them."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustcert.errors import SamplesError

MAX_INFLATED = 2 * 1024**3
"""Bytes a sample file may hold once inflated."""


@dataclass(frozen=True, slots=True, eq=False)
class SampleArrays:
    """The content of a sample file.

    Attributes:
        inputs: ``(N, *shape)`` float32 or float64, finite, N >= 1; uint8 was divided
            by 255.
        labels: ``(N,)`` int64, >= 0.
        sha256: of the file's bytes.
    """

    inputs: NDArray[np.floating]
    labels: NDArray[np.int64]
    sha256: str


def read_samples(data: bytes) -> SampleArrays:
    """Read and check an .npz file; nothing in it is ever unpickled.

    Raises:
        SamplesError: it is no .npz, lacks an array, or an array is unusable.
    """
    arrays = _arrays(data)
    inputs = _inputs(arrays["inputs"])
    labels = _labels(arrays["labels"], len(inputs))
    return SampleArrays(inputs, labels, hashlib.sha256(data).hexdigest())


def _arrays(data: bytes) -> dict[str, NDArray[np.generic]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            inflated = sum(member.file_size for member in archive.infolist())
    except zipfile.BadZipFile as error:
        raise SamplesError("the sample file is no .npz archive") from error
    if inflated > MAX_INFLATED:
        raise SamplesError(
            f"the sample file inflates to {inflated} bytes, above {MAX_INFLATED}",
            remedy="Split the samples over several files.",
        )
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            missing = {"inputs", "labels"} - set(archive.files)
            if missing:
                raise SamplesError(
                    f"the sample file lacks {' and '.join(sorted(missing))}"
                )
            return {name: archive[name] for name in ("inputs", "labels")}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise SamplesError(f"the sample file cannot be read: {error}") from error


def _inputs(raw: NDArray[np.generic]) -> NDArray[np.floating]:
    if raw.ndim < 2 or raw.size == 0:
        raise SamplesError(
            f"inputs have shape {raw.shape}: the sample set is empty"
            if 0 in raw.shape
            else f"inputs have shape {raw.shape}, not (N, *shape)"
        )
    if raw.dtype == np.uint8:
        return raw.astype(np.float32) / np.float32(255.0)
    if not np.issubdtype(raw.dtype, np.floating):
        raise SamplesError(
            f"inputs are {raw.dtype}, neither floating point nor uint8",
            remedy="Convert them to float32 in the model's box, or to uint8 images.",
        )
    wide = raw.dtype.itemsize > np.dtype(np.float32).itemsize
    floats: NDArray[np.floating] = raw.astype(np.float64 if wide else np.float32)
    if not np.isfinite(floats).all():
        raise SamplesError("inputs hold NaN or infinity")
    return floats


def _labels(raw: NDArray[np.generic], count: int) -> NDArray[np.int64]:
    if not np.issubdtype(raw.dtype, np.integer):
        raise SamplesError(f"labels are {raw.dtype}, not integers")
    if raw.shape != (count,):
        raise SamplesError(f"labels have shape {raw.shape}, not ({count},)")
    labels = raw.astype(np.int64)
    if (labels < 0).any():
        raise SamplesError(f"labels go down to {labels.min()}: classes start at 0")
    return labels
