"""The calls a TorchScript pickle may make, and what their arguments must look like."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from robustcert.archive import wording
from robustcert.archive.pickle_values import (
    Container,
    Global,
    Opaque,
    Storage,
    depth_of,
)
from robustcert.errors import ArchiveError

# Bytes of one element of each kind of storage.
ITEM_SIZES: Final[dict[str, int]] = {
    "BoolStorage": 1, "ByteStorage": 1, "CharStorage": 1,
    "ShortStorage": 2, "UInt16Storage": 2, "HalfStorage": 2, "BFloat16Storage": 2,
    "IntStorage": 4, "UInt32Storage": 4, "FloatStorage": 4, "ComplexHalfStorage": 4,
    "LongStorage": 8, "UInt64Storage": 8, "DoubleStorage": 8, "ComplexFloatStorage": 8,
    "ComplexDoubleStorage": 16,
    "Float8_e5m2Storage": 1, "Float8_e4m3fnStorage": 1,
    "Float8_e5m2fnuzStorage": 1, "Float8_e4m3fnuzStorage": 1,
}  # fmt: skip

# The loader parses this text as a type, by recursion.
TYPE_TEXT = re.compile(r"[A-Za-z0-9_., \[\]()?]{1,1024}")
TYPE_DEPTH = 16
DEVICE_TEXT = re.compile(r"(?:cpu|cuda|mps|xpu|meta)(?::\d{1,3})?")
KEY_TEXT = re.compile(r"\d{1,9}")


def storage(identifier: object) -> Storage:
    """The storage that a persistent identifier names.

    Raises:
        ArchiveError: it is not ``("storage", kind, key, device, numel)``.
    """
    match _items(identifier, "tuple"):
        case [
            "storage",
            Global(name=name),
            str() as key,
            str() as device,
            int() as numel,
        ]:
            module, _, kind = name.partition(" ")
            known = module == "torch" and kind in ITEM_SIZES
            named = KEY_TEXT.fullmatch(key) and DEVICE_TEXT.fullmatch(device)
            if known and named and not isinstance(numel, bool) and numel >= 0:
                return Storage(kind, key, numel)
    raise _malformed("refers to a tensor's bytes in an unknown way")


def called(function: object, arguments: object) -> object:
    """The result of an allowed call.

    Raises:
        ArchiveError: the arguments do not fit, or something else is called.
    """
    values = _items(arguments, "tuple")
    if not isinstance(function, Global):
        raise _malformed("calls a value")
    check = CALLS.get(function.name)
    if check is None:
        if not function.name.startswith("__torch__"):
            raise _malformed(f"calls {wording.quoted(function.name)}")
        check = _member_of_enumeration
    if not check(values):
        raise _malformed(f"passes {wording.quoted(function.name)} odd arguments")
    return Opaque(function.name, 1 + max(map(depth_of, values), default=0))


def _is_tensor(values: Sequence[object]) -> bool:
    """``_rebuild_tensor_v2``: the view must lie inside its storage."""
    match values:
        case [Storage(numel=numel), int() as offset, sizes, strides, bool(), hooks]:
            shape, steps = _naturals(sizes), _naturals(strides)
            if shape is None or steps is None or len(shape) != len(steps):
                return False
            if not isinstance(hooks, Opaque) or hooks.kind != ORDERED_DICT:
                return False
            if isinstance(offset, bool) or offset < 0:
                return False
            reach = sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
            return 0 in shape or offset + reach < numel
    return False


def _naturals(value: object) -> list[int] | None:
    if not isinstance(value, Container) or value.kind != "tuple":
        return None
    found = [item for item in value.items if type(item) is int and item >= 0]
    return found if len(found) == len(value.items) else None


def _is_list_of(*kinds: type) -> Callable[[Sequence[object]], bool]:
    def check(values: Sequence[object]) -> bool:
        match values:
            case [Container(kind="list", items=items)]:
                return all(type(item) in kinds for item in items)
        return False

    return check


def _is_tensor_list(values: Sequence[object]) -> bool:
    match values:
        case [Container(kind="list", items=items)]:
            return all(
                isinstance(item, Opaque) and item.kind == TENSOR for item in items
            )
    return False


def _is_tagged(values: Sequence[object]) -> bool:
    match values:
        case [Container(kind="list" | "dict"), str() as text]:
            deep = _bracket_depth(text) > TYPE_DEPTH
            return TYPE_TEXT.fullmatch(text) is not None and not deep
    return False


def _is_device(values: Sequence[object]) -> bool:
    match values:
        case [str() as name] | [str() as name, int()]:
            return DEVICE_TEXT.fullmatch(name) is not None
    return False


def _is_complex(values: Sequence[object]) -> bool:
    return [type(value) for value in values] == [float, float]


def _is_empty(values: Sequence[object]) -> bool:
    return not values


def _member_of_enumeration(values: Sequence[object]) -> bool:
    return len(values) == 1 and type(values[0]) in (int, float, str)


def _bracket_depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character in "[(") - (character in "])")
        deepest = max(deepest, depth)
    return deepest


def _items(value: object, kind: str) -> list[object]:
    if not isinstance(value, Container) or value.kind != kind:
        raise _malformed(f"needs a {kind} where it has none")
    return value.items


def _malformed(what: str) -> ArchiveError:
    return ArchiveError(
        f"A pickle in the archive {what}; torch.jit.save writes none like it.",
        remedy=wording.SAVE_AGAIN,
    )


TENSOR = "torch._utils _rebuild_tensor_v2"
ORDERED_DICT = "collections OrderedDict"

# Every function that a TorchScript archive's pickles call.
CALLS: Final[dict[str, Callable[[Sequence[object]], bool]]] = {
    TENSOR: _is_tensor,
    ORDERED_DICT: _is_empty,
    "torch.jit._pickle build_intlist": _is_list_of(int, Container),
    "torch.jit._pickle build_doublelist": _is_list_of(float),
    "torch.jit._pickle build_boollist": _is_list_of(bool),
    "torch.jit._pickle build_tensorlist": _is_tensor_list,
    "torch.jit._pickle restore_type_tag": _is_tagged,
    "torch device": _is_device,
    "builtins complex": _is_complex,
}
