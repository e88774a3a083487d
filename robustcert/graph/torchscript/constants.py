"""Operators that run on values which do not depend on the input.

Two tables: those that read at most a tensor's shape or handle Python values, and those
that may run on constant tensors. Nothing else is executed.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

import torch
from torch import Tensor

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.batch_size import BatchSize
from robustcert.graph.build import Symbol
from robustcert.graph.torchscript.values import Value


def _size(value: Value, dim: int | None = None) -> Value:
    shape: list[int] = list(_concrete(value).shape)
    if isinstance(value, Symbol):
        shape[0] = BatchSize(shape[0])
    return shape if dim is None else shape[dim]


def _numel(value: Value) -> int:
    count = _concrete(value).numel()
    return BatchSize(count) if isinstance(value, Symbol) else count


def _append(items: list[Value], item: Value) -> list[Value]:
    items.append(item)
    return items


def _raise(*_: object) -> None:
    raise UnsupportedLayerError("raise", "the model raises an exception on this shape")


def _concrete(value: Value) -> Value:
    return value.example if isinstance(value, Symbol) else value


def _single(items: list[Value]) -> Value:
    return items[0] if len(items) == 1 else items


def has_tensor(values: tuple[Value, ...]) -> bool:
    """Whether a tensor stands among ``values``."""
    return any(isinstance(value, Tensor) for value in values)


def new_tensor(
    content: Value,
    dtype: Value = None,
    device: Value = None,  # noqa: ARG001 - constants are read on the CPU
    requires_grad: Value = None,  # noqa: ARG001 - nothing is trained here
) -> Tensor:
    """``tensor(content, dtype)``, which takes lists in saved code alone."""
    made = torch.tensor(content)
    found: Tensor = made if dtype is None else torch.ops.aten.to(made, dtype)
    return found


SHAPE_OPERATORS: dict[str, Callable[..., Value]] = {
    "ListConstruct": lambda *items: list(items),
    "TupleConstruct": lambda *items: list(items),
    "ListUnpack": _single,
    "TupleUnpack": _single,
    "TupleIndex": operator.getitem,
    "RaiseException": _raise,
    "NumToTensor": lambda value: value,
    "ImplicitTensorToNum": lambda value: value,
    "unchecked_cast": lambda value: value,
    "Uninitialized": lambda: None,
    "dtype": lambda value: _concrete(value).dtype,
    "device": lambda value: _concrete(value).device,
    "is_cuda": lambda _: False,
    "size": _size,
    "len": lambda value: _size(value, 0) if isinstance(value, Symbol) else len(value),
    "dim": lambda value: len(_size(value)),
    "numel": _numel,
    "append": _append,
    "__getitem__": operator.getitem,
    "__is__": operator.is_,
    "__isnot__": operator.is_not,
    "is_floating_point": lambda value: _concrete(value).is_floating_point(),
    "format": lambda *words: " ".join(str(word) for word in words[:1]),
    "warn": lambda *_: None,
}
"""Operators that read at most the shape of a tensor."""

ARITHMETIC: dict[str, Callable[..., Value]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "floordiv": operator.floordiv,
    "floor_divide": operator.floordiv,
    "remainder": operator.mod,
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "__and__": operator.and_,
    "__or__": operator.or_,
    "__not__": lambda value, *_: not value,
    "__contains__": operator.contains,
    "neg": lambda value, *_: -value,
    "Int": lambda value, *_: int(value),
    "Float": lambda value, *_: float(value),
    "Bool": lambda value, *_: bool(value),
    "ScalarImplicit": lambda value, *_: value,
    "IntImplicit": lambda value, *_: int(value),
    "list": lambda value, *_: list(value),
}
"""Operators on Python numbers and lists."""

CONSTANT_OPERATORS = frozenset(
    {
        *("add", "sub", "mul", "div", "neg", "sqrt", "rsqrt", "reciprocal", "pow"),
        *("exp", "abs", "clamp", "sum", "mean", "eq", "ne", "lt", "le", "gt", "ge"),
        *("unsqueeze", "squeeze", "view", "reshape", "flatten", "t", "transpose"),
        *("permute", "expand", "expand_as", "contiguous", "clone", "detach", "to"),
        *("type_as", "tensor", "zeros", "ones", "full", "zeros_like", "ones_like"),
        *("arange", "cat", "stack", "select", "slice", "index", "item"),
    }
)
"""Operators that may run on constant tensors: pure, without any effect."""
