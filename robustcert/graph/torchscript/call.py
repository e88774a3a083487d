"""One operator call, as its rule sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import torch
from torch import Tensor

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.build import Final, GraphBuilder, Symbol
from robustcert.graph.layers import Layer
from robustcert.graph.torchscript.values import Node, Value, depends_on_input

EVAL_REMEDY = "Call model.eval() before the export."


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """An operator with its arguments.

    Attributes:
        builder: takes the layers.
        node: the graph's node, for its schema.
        name: of the layer: its module's where the graph tells it.
        arguments: positional, as the operator's schema lists them.
    """

    builder: GraphBuilder
    node: Node
    name: str
    arguments: tuple[Value, ...]

    @property
    def operator(self) -> str:
        """The operator's qualified name, such as ``aten::linear``."""
        return str(self.node.kind())

    def given(self, *arguments: Value) -> Call:
        """The same call with other arguments, to hand on to another rule."""
        return replace(self, arguments=arguments)

    def symbol(self, position: int = 0) -> Symbol:
        """The argument, which must depend on the input."""
        value = self.arguments[position]
        if isinstance(value, Final):
            self.refuse("reads a softmax, which may only be the last layer")
        if not isinstance(value, Symbol):
            self.refuse(f"{self.operator} reads a constant where an input is expected")
        return value

    def constant(self, position: int) -> Tensor:
        """The argument as a float64 tensor; it must not depend on the input."""
        return self.as_constant(self.arguments[position])

    def optional(self, position: int) -> Tensor | None:
        """The same, or ``None`` where the argument is ``None``."""
        return None if self.arguments[position] is None else self.constant(position)

    def as_constant(self, value: Value) -> Tensor:
        """A known value as a float64 tensor."""
        if depends_on_input([value]):
            self.refuse(f"{self.operator} has weights that depend on the input")
        return torch.as_tensor(value).detach().to(device="cpu", dtype=torch.float64)

    def ints(self, position: int, count: int) -> tuple[int, ...]:
        """The argument as ``count`` integers; one stands for all."""
        return ints(self.arguments[position], count)

    def add(self, kind: type[Layer], *sources: Symbol, **attributes: object) -> Symbol:
        """Add a layer under the call's name."""
        return self.builder.add(kind, self.name, list(sources), attributes)

    def refuse(self, reason: str, *, remedy: str = "") -> NoReturn:
        """Refuse the layer.

        Raises:
            UnsupportedLayerError: always.
        """
        raise UnsupportedLayerError(self.name, reason, remedy=remedy)

    def schema_arguments(self) -> list[tuple[str, Any]]:
        """Names and values of the arguments."""
        schema = torch._C.parse_schema(self.node.schema())
        names = [argument.name for argument in schema.arguments]
        return list(zip(names, self.arguments, strict=False))


def ints(value: int | Sequence[int], count: int) -> tuple[int, ...]:
    """``count`` integers, from one or from as many."""
    numbers = (value,) if isinstance(value, int) else tuple(int(v) for v in value)
    return numbers * count if len(numbers) == 1 else numbers
