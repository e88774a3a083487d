"""Operator calls of a torch.export program, read from its JSON.

Source: ``torch/_export/serde/schema.py``, schema version 8. What a classifier does not
need (subgraphs, custom objects, operators outside ATen) is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from robustcert.archive import operators, wording
from robustcert.archive.exported_json import (
    Json,
    items,
    malformed,
    mapping,
    text,
    variant,
)
from robustcert.archive.exported_layout import EXPORT
from robustcert.archive.exported_program import (
    Argument,
    Node,
    Place,
    Reference,
    TorchName,
)
from robustcert.errors import ArchiveError

DTYPES: Final[Mapping[int, str]] = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    12: "bool",
    13: "bfloat16",
}
STRIDED = 7
_WORD = re.compile(r"[A-Za-z0-9_]{1,64}")
_LAYOUTS: Final = {STRIDED: "strided"}
_MEMORY_FORMATS: Final = {
    1: "contiguous_format",
    2: "channels_last",
    4: "preserve_format",
}
_WORDS: Final = {"Infinity": "inf", "-Infinity": "-inf", "NaN": "nan"}

# What torch.export adds to the operators of TorchScript: copies, sizes and assertions.
ATEN: Final = operators.TORCH | {
    *("_to_copy", "_unsafe_view", "sym_size", "sym_numel"),
    *("_assert_tensor_metadata", "_assert_scalar"),
    *("sym_constrain_range", "sym_constrain_range_for_size"),
}
PYTHON: Final = frozenset(
    {
        *("add", "sub", "mul", "floordiv", "mod", "neg"),
        *("eq", "ne", "lt", "le", "gt", "ge"),
    }
)

_REFUSED: Final[Mapping[str, str]] = {
    "as_graph": "a subgraph",
    "as_custom_obj": "a custom object",
    "as_operator": "another operator",
}


def node(record: Json) -> Node:
    """The call that ``record`` describes.

    Raises:
        ArchiveError: the operator is not allowed, or the record is malformed.
    """
    namespace, operator, overload = _target(text(record, "target"))
    arguments: dict[str, Argument] = {}
    for entry in items(record, "inputs"):
        name = text(entry, "name")
        if name in arguments:
            raise malformed("an argument is given twice")
        arguments[name] = _argument(operator, mapping(entry, "arg"))
    outputs, several = _outputs(operator, items(record, "outputs"))
    return Node(namespace, operator, overload, arguments, outputs, several)


def tensor_name(record: Json) -> str:
    """The name in an argument that must be a tensor."""
    kind, value = variant(record)
    if kind != "as_tensor":
        raise ArchiveError(
            f"The model takes or returns something other than one tensor ({kind}).",
            remedy="Wrap it so that forward maps one tensor to the logits alone.",
        )
    return text(value, "name")


def dtype_name(code: int) -> str:
    """``torch.NAME`` of a scalar type's number."""
    return _listed(DTYPES, code, "a tensor type")


def _target(target: str) -> tuple[str, str, str]:
    words = target.split(".")
    aten = words[:3] == ["torch", "ops", "aten"] and len(words) == 5
    if aten and words[3] in ATEN and _WORD.fullmatch(words[4]):
        return "aten", words[3], words[4]
    if words[0] == "_operator" and len(words) == 2 and words[1] in PYTHON:
        return "python", words[1], ""
    if words[:3] == ["torch", "ops", "higher_order"]:
        raise ArchiveError(
            f"The model calls the higher-order operator {wording.quoted(target)}.",
            remedy="Leave control flow and torch.no_grad() out of forward(). " + EXPORT,
        )
    raise ArchiveError(
        f"The model calls {wording.quoted(target)}, which no classifier needs.",
        remedy=wording.PLAIN_FORWARD,
    )


def _argument(operator: str, record: Json) -> Argument:
    kind, value = variant(record)
    if kind == "as_none":
        return None
    if kind in _READERS:
        return _READERS[kind](value)
    if kind in _LISTS and type(value) is list:
        return tuple(_READERS[_LISTS[kind]](item) for item in value)
    raise ArchiveError(
        f"The operator {wording.quoted(operator)} is given "
        f"{_REFUSED.get(kind, wording.quoted(kind))}, which no classifier needs.",
        remedy=wording.PLAIN_FORWARD,
    )


def _outputs(operator: str, records: list[Json]) -> tuple[tuple[str, ...], bool]:
    """Names of the results, and whether the operator returns a sequence of them."""
    found = [_argument(operator, record) for record in records]
    listed = len(found) == 1 and isinstance(found[0], tuple)
    if len(found) == 1 and isinstance(found[0], tuple):
        found = list(found[0])
    names = [item.name for item in found if isinstance(item, Reference)]
    if len(names) != len(found) or not all(name.isidentifier() for name in names):
        raise malformed(f"a result of {wording.quoted(operator)} has no name")
    return tuple(names), listed or len(names) > 1


def _number(value: Json) -> Argument:
    """A float; infinities are written as words."""
    if type(value) is str and value in _WORDS:
        return float(_WORDS[value])
    if type(value) not in (int, float):
        raise malformed("a number is none")
    return float(value)


def _plain(kind: type[bool | int | str]) -> Callable[[Json], Argument]:
    def read(value: Json) -> Argument:
        if type(value) is not kind:
            raise malformed(f"an argument is no {kind.__name__}")
        return value

    return read


def _tensor(value: Json) -> Argument:
    return Reference(text(value, "name"))


def _optional(value: Json) -> Argument:
    kind, content = variant(value)
    return _tensor(content) if kind == "as_tensor" else None


def _symbol(value: Json) -> Argument:
    """A size: the name of one, or a number."""
    kind, content = variant(value)
    if kind == "as_name" and type(content) is str:
        return Reference(content)
    return _argument("size", {kind: content})


def _device(value: Json) -> Argument:
    text(value, "type")
    return Place()


def _coded(table: Mapping[int, str], what: str) -> Callable[[Json], Argument]:
    def read(value: Json) -> Argument:
        return TorchName(_listed(table, value, what))

    return read


def _listed(table: Mapping[int, str], code: Json, what: str) -> str:
    if type(code) is not int or code not in table:
        raise ArchiveError(
            f"The model uses {what} ({wording.quoted(str(code))}) that is not read.",
            remedy="Export a model of dense tensors of ordinary numbers.",
        )
    return table[code]


_READERS: Final[Mapping[str, Callable[[Json], Argument]]] = {
    "as_float": _number,
    "as_tensor": _tensor,
    "as_optional_tensor": _optional,
    "as_sym_int": _symbol,
    "as_sym_float": _symbol,
    "as_sym_bool": _symbol,
    "as_scalar_type": _coded(DTYPES, "a tensor type"),
    "as_memory_format": _coded(_MEMORY_FORMATS, "a memory format"),
    "as_layout": _coded(_LAYOUTS, "a tensor layout"),
    "as_device": _device,
    "as_int": _plain(int),
    "as_bool": _plain(bool),
    "as_string": _plain(str),
}
_LISTS: Final[Mapping[str, str]] = {
    "as_ints": "as_int",
    "as_bools": "as_bool",
    "as_floats": "as_float",
    "as_strings": "as_string",
    "as_tensors": "as_tensor",
    "as_optional_tensors": "as_optional_tensor",
    "as_sym_ints": "as_sym_int",
}
