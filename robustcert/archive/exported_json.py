"""JSON of a torch.export archive, read strictly: a wrong type is a refusal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

from robustcert.archive import wording
from robustcert.archive.exported_layout import EXPORT_AGAIN
from robustcert.errors import ArchiveError

T = TypeVar("T")

MOST_VALUES = 1_000_000
LONGEST_NUMBER = 20  # digits and sign of 64 bits

Json = Any
"""What :func:`parsed` returns, and parts of it."""


def parsed(data: bytes) -> Json:
    """The value that the bytes describe; no key of an object occurs twice.

    Raises:
        ArchiveError: they are no such JSON, nested too deeply, or hold more values
            than a classifier's description.
    """
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > MOST_VALUES:
        raise malformed("it is larger than a model needs")
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_int=_bounded,
            parse_constant=_constant,
        )
    except (ValueError, RecursionError):
        raise malformed("it is not plain JSON") from None


def text(record: Json, key: str) -> str:
    """The string under ``key``."""
    return _typed(record, key, str)


def integer(record: Json, key: str) -> int:
    """The whole number under ``key``; ``true`` is none."""
    return _typed(record, key, int)


def boolean(record: Json, key: str) -> bool:
    """The truth value under ``key``."""
    return _typed(record, key, bool)


def items(record: Json, key: str) -> list[Json]:
    """The list under ``key``."""
    return _typed(record, key, list)


def mapping(record: Json, key: str) -> Mapping[str, Json]:
    """The object under ``key``."""
    return _typed(record, key, dict)


def variant(record: Json) -> tuple[str, Json]:
    """Name and content of a union, which is written as an object with one key."""
    if type(record) is not dict or len(record) != 1:
        raise malformed("a choice has no name or several")
    return next(iter(record.items()))


def malformed(what: str) -> ArchiveError:
    """The refusal of a description that torch.export did not write."""
    return ArchiveError(
        f"The program's description is malformed: {what}.", remedy=EXPORT_AGAIN
    )


def _typed(record: Json, key: str, kind: type[T]) -> T:
    value = record.get(key) if type(record) is dict else None
    if type(value) is not kind:
        raise malformed(f"{wording.quoted(key)} is no {kind.__name__}")
    return value


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("a key occurs twice")
    return record


def _bounded(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise ValueError("a number has more than 64 bits")
    return int(digits)


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
