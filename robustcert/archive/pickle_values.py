"""What the symbolic reading of a pickle puts on its stack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Global:
    """A name the pickle refers to, ``module name``; never imported."""

    name: str
    depth: ClassVar[int] = 0


@dataclass(frozen=True, slots=True)
class Storage:
    """The bytes a tensor lies in: the member ``key`` with ``numel`` elements."""

    kind: str
    key: str
    numel: int
    depth: ClassVar[int] = 0


@dataclass(frozen=True, slots=True)
class Opaque:
    """The result of an allowed call whose value does not matter further."""

    kind: str
    depth: int = 0


@dataclass(slots=True)
class Container:
    """A tuple, list, dict or object.

    ``frozen`` once it has been fetched from the memo: nothing is added to it any more,
    so no container can come to hold itself.
    """

    kind: str
    items: list[object]
    depth: int = 1
    frozen: bool = False


def depth_of(value: object) -> int:
    """How deep containers are nested in ``value``."""
    return value.depth if isinstance(value, Container | Opaque) else 0
