"""ATen operators, called as a torch.export program calls them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from robustcert.archive.exported_layout import EXPORT
from robustcert.archive.exported_program import Argument, Node, Place, TorchName
from robustcert.errors import ModelLoadError

Value = Any
"""A tensor, number, text, type or list of them."""

_ARITHMETIC: dict[str, Callable[..., Value]] = {
    name: getattr(operator, name)
    for name in (
        *("add", "sub", "mul", "floordiv", "mod", "neg"),
        *("eq", "ne", "lt", "le", "gt", "ge"),
    )
}


@dataclass(frozen=True, slots=True, eq=False)
class BoundCall:
    """A node with the operator it calls and all of its arguments.

    Attributes:
        node: as the file has it.
        function: the operator.
        positional: arguments by position, defaults filled in.
        keywords: keyword-only arguments, defaults filled in.
        schema: of the operator, in torch's notation; empty for arithmetic on sizes.
    """

    node: Node
    function: Callable[..., Value]
    positional: tuple[Argument, ...]
    keywords: Mapping[str, Argument]
    schema: str


def bound(node: Node) -> BoundCall:
    """The call of ``node``, matched with the operator's schema.

    Raises:
        ModelLoadError: this version of PyTorch has no such operator, it takes other
            arguments, or it writes where its name does not say so.
    """
    if node.namespace == "python":
        arguments = tuple(node.arguments.values())
        return BoundCall(node, _ARITHMETIC[node.operator], arguments, {}, "")
    packet = getattr(torch.ops.aten, node.operator, None)
    function = getattr(packet, node.overload, None)
    if not isinstance(function, torch._ops.OpOverload):
        raise ModelLoadError(
            f"this version of PyTorch has no operator {node.target}",
            remedy="Export the model with the version of PyTorch that is installed "
            f"here, {torch.__version__}.",
        )
    schema = function._schema
    writes = [
        argument.name
        for argument in schema.arguments
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    if writes != ([schema.arguments[0].name] if node.in_place else []):
        raise ModelLoadError(
            f"the operator {node.target} writes to {writes}", remedy=EXPORT
        )
    filled = _filled(node, schema.arguments)
    keyword_only = {a.name for a in schema.arguments if a.kwarg_only}
    positional = tuple(v for name, v in filled.items() if name not in keyword_only)
    keywords = {name: v for name, v in filled.items() if name in keyword_only}
    return BoundCall(node, function, positional, keywords, str(schema))


def resolved(
    value: Argument, values: Mapping[str, Value], device: torch.device
) -> Value:
    """What an argument stands for.

    Args:
        value: of a node.
        values: by name, as far as they are computed.
        device: on which the model runs.
    """
    if isinstance(value, tuple):
        return [resolved(item, values, device) for item in value]
    if isinstance(value, TorchName):
        return getattr(torch, value.name)
    if isinstance(value, Place):
        return device
    name = getattr(value, "name", None)
    return value if name is None else values[name]


def _filled(node: Node, schema: list[Any]) -> dict[str, Argument]:
    """Every argument of the schema, the missing ones by their defaults."""
    unknown = node.arguments.keys() - {argument.name for argument in schema}
    filled = {
        argument.name: node.arguments.get(argument.name, argument.default_value)
        for argument in schema
        if argument.name in node.arguments or argument.has_default_value()
    }
    if unknown or len(filled) < len(schema):
        raise ModelLoadError(
            f"the operator {node.target} is given other arguments than it takes",
            remedy=EXPORT,
        )
    return {name: _frozen(value) for name, value in filled.items()}


def _frozen(value: Value) -> Argument:
    """A default, whose lists torch gives as lists."""
    frozen: Argument = tuple(value) if isinstance(value, list) else value
    return frozen
