"""What a name in a TorchScript graph may stand for while the graph is walked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from robustcert.graph.build import Final, Symbol

Node = Any
"""``torch._C.Node``, ``Block`` or ``Value``: torch ships no types for them."""

Value = Any
"""A Python number, list or tensor that is known; or one of the classes below, or a
:class:`~robustcert.graph.build.Symbol`."""


@dataclass(frozen=True, slots=True)
class Stale:
    """A view of a tensor that was changed in place: reading it is refused."""

    operator: str


def depends_on_input(values: list[Value]) -> bool:
    """Whether a symbol occurs in ``values`` or in a list among them."""
    return any(
        depends_on_input(list(value))
        if isinstance(value, list | tuple)
        else isinstance(value, Symbol | Final)
        for value in values
    )
