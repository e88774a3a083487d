"""Where the tensors of a torch.export program lie in its file.

They are raw bytes with a shape, strides and an offset, all of which are checked here
against the bytes there are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

from robustcert.archive import wording
from robustcert.archive.exported_json import (
    Json,
    boolean,
    integer,
    items,
    malformed,
    mapping,
    text,
)
from robustcert.archive.exported_layout import EXPORT_AGAIN
from robustcert.archive.exported_nodes import STRIDED, dtype_name
from robustcert.archive.exported_program import StoredTensor
from robustcert.archive.report import Member
from robustcert.errors import ArchiveError

MOST_DIMENSIONS = 8
ITEM_SIZES: Final[Mapping[str, int]] = {
    "bool": 1,
    "uint8": 1,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "float16": 2,
    "bfloat16": 2,
    "float32": 4,
    "float64": 8,
}
_FILE_NAME = re.compile(r"(?:weight|tensor)_\d{1,6}")


def stored(
    title: str, payload: Json, folder: str, members: Mapping[str, Member]
) -> StoredTensor:
    """The tensor that a payload record describes.

    Args:
        title: the user's name for it.
        payload: of ``model_weights_config.json`` or ``model_constants_config.json``.
        folder: in which its bytes lie.
        members: of the archive.

    Raises:
        ArchiveError: it is a pickle, or does not fit its bytes.
    """
    path = text(payload, "path_name")
    if boolean(payload, "use_pickle") or not _FILE_NAME.fullmatch(path):
        raise ArchiveError(
            f"The tensor {wording.quoted(title)} is stored as a pickle or an object.",
            remedy="Export a model whose weights are plain tensors.",
        )
    member = members.get(folder + path)
    if member is None:
        raise malformed(f"the bytes of {wording.quoted(title)} are missing")
    meta = mapping(payload, "tensor_meta")
    dtype = dtype_name(integer(meta, "dtype"))
    shape, strides = fixed(items(meta, "sizes")), fixed(items(meta, "strides"))
    offset = fixed([mapping(meta, "storage_offset")])[0]
    if integer(meta, "layout") != STRIDED:
        raise malformed("a tensor is not dense")
    _refuse_misfit(title, shape, strides, offset, member.size // ITEM_SIZES[dtype])
    if member.size % ITEM_SIZES[dtype]:
        raise _misfit(title)
    return StoredTensor(
        title=title,
        trained=boolean(payload, "is_param"),
        start=member.start,
        size=member.size,
        dtype=dtype,
        shape=shape,
        strides=strides,
        offset=offset,
    )


def fixed(sizes: list[Json]) -> tuple[int, ...]:
    """Sizes that must be numbers, and none below 0."""
    numbers = tuple(integer(size, "as_int") for size in sizes)
    if len(numbers) > MOST_DIMENSIONS or min(numbers, default=0) < 0:
        raise malformed("a tensor has a size below 0 or too many dimensions")
    return numbers


def _refuse_misfit(
    title: str,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    offset: int,
    available: int,
) -> None:
    """Refuse a tensor that reaches outside its bytes, or is larger than they are.

    A stride of 0 would make a tensor of any size from one number.
    """
    if len(shape) != len(strides) or offset > available:
        raise _misfit(title)
    if 0 in shape:
        return
    steps = zip(shape, strides, strict=True)
    last = offset + sum((size - 1) * stride for size, stride in steps)
    if last >= available or math.prod(shape) > available:
        raise _misfit(title)


def _misfit(title: str) -> ArchiveError:
    return ArchiveError(
        f"The tensor {wording.quoted(title)} does not fit the bytes stored for it.",
        remedy=EXPORT_AGAIN,
    )
