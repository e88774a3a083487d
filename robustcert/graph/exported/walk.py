"""A walk over the calls of an exported program.

Values that do not depend on the input are computed in float64; tensors that do become
layers, each by the rule of its operator, or the model is refused by that operator's
name.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.batch_size import BatchSize, followed, refuse_batch_size
from robustcert.graph.build import Final, GraphBuilder, Symbol
from robustcert.graph.exported.operator_node import OperatorNode
from robustcert.graph.exported.rules import DECOMPOSED_REMEDY, RULES, WRITTEN_OUT
from robustcert.graph.torchscript.call import Call
from robustcert.graph.torchscript.constants import CONSTANT_OPERATORS
from robustcert.graph.torchscript.values import Stale, Value, depends_on_input
from robustcert.models.exported_module import named
from robustcert.models.exported_operators import BoundCall, resolved

CPU = torch.device("cpu")
UNREADABLE = (RuntimeError, ValueError, IndexError, TypeError, ArithmeticError)
CONSTANTS = CONSTANT_OPERATORS | {
    *("lift_fresh_copy", "alias", "detach_", "_to_copy", "scalar_tensor", "full_like"),
    *("_unsafe_view", "matmul", "mm", "log", "log1p", "expm1", "square"),
    *("fmod", "remainder"),
}
ASSERTIONS = frozenset(
    {
        *("_assert_tensor_metadata", "_assert_scalar"),
        *("sym_constrain_range", "sym_constrain_range_for_size"),
    }
)
"""Operators that check what the exporter saw, and return nothing."""
RESHAPES = frozenset({"view", "reshape", "_unsafe_view"})


@dataclass(slots=True)
class Walk:
    """The state of one walk.

    Attributes:
        builder: takes the layers.
        values: what each name stands for.
        owners: for stored tensors and what is computed of them, the user's module.
    """

    builder: GraphBuilder
    values: dict[str, Value]
    owners: dict[str, str]

    def step(self, call: BoundCall) -> None:
        """Follow one call.

        Raises:
            UnsupportedLayerError: it has no rule, or cannot be followed.
        """
        node = call.node
        if node.operator in ASSERTIONS:
            return
        known = (*call.positional, *call.keywords.values())
        arguments = tuple(resolved(value, self.values, CPU) for value in known)
        read = [self._owner(value) for value in known]
        owner = next(filter(None, read), "")
        name = owner or node.operator.strip("_")
        _refuse_stale(list(arguments))
        try:
            outputs = named(call, self._result(call, name, arguments))
        except UNREADABLE as error:
            raise UnsupportedLayerError(name, f"cannot be read: {error}") from error
        self.values.update(outputs)
        if not depends_on_input(list(outputs.values())):
            self.owners.update(dict.fromkeys(outputs, owner))

    def _owner(self, value: object) -> str:
        return self.owners.get(getattr(value, "name", ""), "")

    def _result(
        self, call: BoundCall, name: str, arguments: tuple[Value, ...]
    ) -> Value:
        if call.node.namespace == "python":
            return followed(name, call.function(*arguments), arguments)
        if call.node.operator in ("sym_size", "sym_numel"):
            return _size(*arguments)
        reshapes = call.node.operator in RESHAPES
        refuse_batch_size(name, arguments, reshapes=reshapes)
        if depends_on_input(list(arguments)):
            return self._by_rule(call, name, arguments)
        if call.node.operator not in CONSTANTS:
            raise UnsupportedLayerError(
                name, f"operator {call.node.target} on constants is not allowed"
            )
        count = len(call.positional)
        keywords = dict(zip(call.keywords, arguments[count:], strict=True))
        return call.function(*arguments[:count], **keywords)

    def _by_rule(
        self, call: BoundCall, name: str, arguments: tuple[Value, ...]
    ) -> Value:
        node = call.node
        plain = node.operator.rstrip("_") if node.in_place else node.operator
        exact = RULES.get(f"{node.operator}.{node.overload}")
        rule = exact or RULES.get(f"{plain}.{node.overload}")
        if rule is None:
            remedy = DECOMPOSED_REMEDY if plain in WRITTEN_OUT else ""
            reason = f"operator {node.target} has no rule"
            raise UnsupportedLayerError(name, reason, remedy=remedy)
        operation = Call(self.builder, OperatorNode(call), name, arguments)
        result = rule(operation)
        changed = arguments[0]
        if not (node.in_place and isinstance(changed, Symbol)) or result is changed:
            return result
        if not isinstance(result, Symbol):
            operation.refuse(f"operator {node.target} changes its input in place")
        return self._renamed(changed, result, name)

    def _renamed(self, changed: Symbol, result: Symbol, name: str) -> Symbol:
        """``result`` in the place of ``changed``, whose other views become stale."""
        renamed = Symbol(result.position, result.example, changed.storage)
        for key, value in self.values.items():
            if isinstance(value, Symbol) and value.storage == changed.storage:
                same = value.position == changed.position
                self.values[key] = renamed if same else Stale(name)
        return renamed


def widened(tensor: Tensor) -> Tensor:
    """The tensor on the CPU, in float64 if it holds real numbers."""
    held = tensor.detach().cpu()
    return held.double() if held.is_floating_point() else held


def _size(value: Value, dim: int | None = None) -> int:
    """A size of a tensor, or the number of its elements."""
    if isinstance(value, Final):
        raise UnsupportedLayerError("softmax", "may only be the last layer")
    if not isinstance(value, Symbol):
        return int(value.numel() if dim is None else value.shape[dim])
    if dim is None:
        return BatchSize(value.example.numel())
    whole = dim % value.example.ndim == 0
    size = value.example.shape[dim]
    return BatchSize(size) if whole else size


def _refuse_stale(values: list[Value]) -> None:
    for value in values:
        if isinstance(value, list):
            _refuse_stale(value)
        if isinstance(value, Stale):
            raise UnsupportedLayerError(
                value.operator, "changes a tensor in place that is read again as a view"
            )
