"""How values flow through a torch.export program: order, state, and the batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from robustcert.archive import wording
from robustcert.archive.exported_json import Json, items, malformed, mapping, variant
from robustcert.archive.exported_program import (
    ROWS,
    Argument,
    Node,
    Program,
    Reference,
)
from robustcert.archive.exported_signature import EVAL_REMEDY
from robustcert.errors import ArchiveError

_SWITCHES = ("train", "training")
_RESHAPES = {"view": "size", "reshape": "shape", "_unsafe_view": "size"}


def refuse_training(nodes: Sequence[Node]) -> None:
    """Refuse batch norms and dropouts in train mode, by name."""
    for call in nodes:
        switched = [call.arguments.get(switch, False) for switch in _SWITCHES]
        if any(value is not False for value in switched):
            raise ArchiveError(
                f"The operator {wording.quoted(call.operator)} runs in train mode: a "
                "sample's output depends on chance or on its batch.",
                remedy=EVAL_REMEDY,
            )


def dependent(
    nodes: Sequence[Node], source: str, stored: Iterable[str]
) -> frozenset[str]:
    """Names of the values that depend on the input.

    Args:
        nodes: in order of execution.
        source: the input's name.
        stored: names of the stored tensors.

    Raises:
        ArchiveError: a value is read before it is given, given twice, or a stored
            tensor is changed.
    """
    known = {source, *stored}
    depends = {source}
    for call in nodes:
        read = {name for value in call.arguments.values() for name in _names(value)}
        if not read <= known:
            raise malformed(f"{wording.quoted(call.target)} reads an unknown value")
        for name in call.outputs:
            if name in known:
                raise malformed("a value is given twice")
            known.add(name)
        if not depends.isdisjoint(read):
            depends.update(call.outputs)
        if call.in_place and call.operator != "detach_":
            _refuse_state(call, depends)
    return frozenset(depends)


def with_any_batch(program: Program, metas: Mapping[str, Json]) -> Program:
    """The program with :data:`ROWS` where reshapes repeat a fixed batch size.

    A reshape from ``(B, ...)`` to ``(B, ...)`` keeps each sample's numbers in its own
    row, so it may say ``(N, ...)`` for any N.
    """
    batch = program.sizes[0] if program.sizes else None
    if batch is None:
        return program

    def widened(call: Node) -> Node:
        key = _RESHAPES.get(call.operator)
        wanted = call.arguments.get(key) if key else None
        source = call.arguments.get("self")
        if (
            key is None
            or not isinstance(wanted, tuple)
            or wanted[:1] != (batch,)
            or not isinstance(source, Reference)
            or source.name not in program.depends
            or sizes(mapping(metas, source.name))[:1] != (batch,)
        ):
            return call
        rows = (Reference(ROWS), *wanted[1:])
        return replace(call, arguments={**call.arguments, key: rows})

    return replace(program, nodes=tuple(widened(call) for call in program.nodes))


def sizes(meta: Json) -> tuple[int | None, ...]:
    """A shape in which dynamic sizes are ``None``; their formulas stay unread."""
    found: list[int | None] = []
    for size in items(meta, "sizes"):
        kind, content = variant(size)
        if kind == "as_int" and (type(content) is not int or content < 0):
            raise malformed("a size is no number")
        found.append(content if kind == "as_int" else None)
    return tuple(found)


def _refuse_state(call: Node, depends: set[str]) -> None:
    changed = call.arguments.get("self")
    if not isinstance(changed, Reference) or changed.name not in depends:
        raise ArchiveError(
            f"The operator {wording.quoted(call.operator)} changes a stored tensor: "
            "the model keeps state between calls.",
            remedy=EVAL_REMEDY,
        )


def _names(value: Argument) -> list[str]:
    if isinstance(value, Reference):
        return [value.name]
    if isinstance(value, tuple):
        return [name for item in value for name in _names(item)]
    return []
