"""One operator call of an ONNX file, as its rule sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.build import EXAMPLE_BATCH, Final, GraphBuilder, Symbol
from robustcert.graph.layers import Layer
from robustcert.graph.onnx.values import Above, Array, ErrorTerm, Value
from robustcert.models.onnx import OnnxNode, shown

EVAL_REMEDY = "Export the model in eval mode: torch.onnx.export(model.eval(), ...)."
BATCH_REMEDY = "Export the model so that the first dimension stays the batch."


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """An operator with its arguments.

    Attributes:
        builder: takes the layers.
        node: the file's.
        opset: version of the operators, which decides on defaults.
        batch: the batch size with which shapes are computed: the file's where it is
            fixed.
        arguments: one a name that the node reads.
    """

    builder: GraphBuilder
    node: OnnxNode
    opset: int
    batch: int
    arguments: tuple[Value, ...]

    @property
    def name(self) -> str:
        """Of the layer: its module's where a weight's name tells, else the node's."""
        for source in self.node.inputs:
            module, _, last = source.rpartition(".")
            if module and last in ("weight", "bias"):
                return shown(module)
        return self.node.name or self.node.operator

    @property
    def count(self) -> int:
        """Number of arguments that are there."""
        return sum(argument is not None for argument in self.arguments)

    def value(self, position: int) -> Value:
        """The argument, ``None`` where it is left out."""
        return self.arguments[position] if position < len(self.arguments) else None

    def symbol(self, position: int = 0) -> Symbol:
        """The argument, which must depend on the input."""
        value = self.value(position)
        if isinstance(value, Final):
            self.refuse("reads a softmax, which may only be the last layer")
        if isinstance(value, ErrorTerm):
            self.refuse("reads an error function that is no part of a GELU")
        if isinstance(value, Above):
            self.refuse("reads a comparison that is no part of a softplus")
        if not isinstance(value, Symbol):
            self.refuse(f"{self.node.operator} reads a constant for its input")
        return value

    def array(self, position: int) -> Array:
        """The argument, which must be known."""
        value = self.value(position)
        if not isinstance(value, np.ndarray):
            self.refuse(
                f"{self.node.operator} has parameters that depend on the input"
                if value is not None
                else f"{self.node.operator} lacks an input"
            )
        return value

    def constant(self, position: int) -> Tensor:
        """The argument as a float64 tensor; it must be known."""
        array = self.array(position)
        if not np.issubdtype(array.dtype, np.number):
            self.refuse(f"{self.node.operator} reads {array.dtype} as numbers")
        # a copy, because torch takes no view that runs backwards
        return torch.tensor(array.copy(), dtype=torch.float64)

    def optional(self, position: int) -> Tensor | None:
        """The same, or ``None`` where it is left out."""
        return None if self.value(position) is None else self.constant(position)

    def whole(self, position: int) -> list[int]:
        """The argument as a list of integers; it must be known."""
        array = self.array(position)
        if not np.issubdtype(array.dtype, np.integer):
            self.refuse(f"{self.node.operator} reads {array.dtype} as integers")
        return [int(number) for number in array.reshape(-1)]

    def number(self, name: str, default: float) -> float:
        """A numeric attribute."""
        value = self.node.attributes.get(name, default)
        if not isinstance(value, int | float):
            self.refuse(f"has an unusual attribute {shown(name)!r}")
        return float(value)

    def integer(self, name: str, default: int) -> int:
        """An integer attribute."""
        value = self.node.attributes.get(name, default)
        if not isinstance(value, int):
            self.refuse(f"has an unusual attribute {shown(name)!r}")
        return value

    def text(self, name: str, default: str) -> str:
        """A text attribute."""
        return shown(str(self.node.attributes.get(name, default)))

    def integers(self, name: str, default: Sequence[int]) -> tuple[int, ...]:
        """A list of integers, of the default's length."""
        value = self.node.attributes.get(name, list(default))
        if not isinstance(value, list) or len(value) != len(default):
            self.refuse(f"has an unusual attribute {shown(name)!r}")
        return tuple(int(number) for number in value)

    def axes(self, position: int) -> list[int] | None:
        """Dimensions given as an input or, in older files, as an attribute."""
        if self.value(position) is not None:
            return self.whole(position)
        value = self.node.attributes.get("axes")
        if value is None:
            return None
        if not isinstance(value, list):
            self.refuse("has unusual axes")
        return [int(number) for number in value]

    def add(self, kind: type[Layer], *sources: Symbol, **attributes: object) -> Symbol:
        """Add a layer under the call's name."""
        return self.builder.add(kind, self.name, list(sources), attributes)

    def reshaped(self, source: Symbol, target: Sequence[int]) -> Symbol:
        """``source`` in the shape ``target``, whose first dimension is the batch."""
        if not target or target[0] != self.batch:
            self.refuse(
                f"turns a batch of {self.batch} into shape {tuple(target)}, which "
                "mixes or drops the batch",
                remedy=BATCH_REMEDY,
            )
        if min(target) < 1 or torch.Size(target[1:]).numel() != (
            torch.Size(source.shape).numel()
        ):
            self.refuse(f"reshapes {source.shape} to {tuple(target[1:])}")
        example = source.example.reshape(EXAMPLE_BATCH, *target[1:])
        return self.builder.reshape(self.name, source, example)

    def shape_of(self, value: Value) -> list[int]:
        """The shape with the batch, as the file would see it."""
        if isinstance(value, np.ndarray):
            return list(value.shape)
        if not isinstance(value, Symbol):
            self.refuse("reads the shape of something that is no layer's output")
        return [self.batch, *value.shape]

    def refuse(self, reason: str, *, remedy: str = "") -> NoReturn:
        """Refuse the layer.

        Raises:
            UnsupportedLayerError: always.
        """
        raise UnsupportedLayerError(self.name, reason, remedy=remedy)
