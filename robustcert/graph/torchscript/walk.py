"""A concolic walk over a frozen TorchScript graph.

Values that do not depend on the input are computed; tensors that do become layers. The
walk never hands a value that depends on the input to the interpreter: each such
operator has a rule of its own or the model is refused by the operator's name.

TorchScript is deprecated in torch 2.13; its private interfaces are used in this folder
and in ``models/torchscript.py`` alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.batch_size import (
    followed,
    holds_batch_size,
    refuse_batch_size,
)
from robustcert.graph.build import Final, GraphBuilder, Symbol
from robustcert.graph.torchscript.call import EVAL_REMEDY, Call
from robustcert.graph.torchscript.constants import (
    ARITHMETIC,
    CONSTANT_OPERATORS,
    SHAPE_OPERATORS,
    has_tensor,
    new_tensor,
)
from robustcert.graph.torchscript.values import (
    Node,
    Stale,
    Value,
    depends_on_input,
)

MAX_ITERATIONS = 4096
RESHAPES = frozenset({"view", "reshape"})
UNREADABLE = (RuntimeError, ValueError, IndexError, TypeError)

Rule = Callable[[Call], Symbol | Final | list[Value]]


@dataclass(slots=True)
class Walk:
    """The state of one walk: the builder, the rules, and the value of every name."""

    builder: GraphBuilder
    rules: dict[str, Rule]
    values: dict[str, Value] = field(default_factory=dict)

    def block(self, block: Node) -> list[Value]:
        """Walk the nodes of a block and return the values of its outputs."""
        for node in block.nodes():
            self._step(node)
        return [self._read(output) for output in block.outputs()]

    def _step(self, node: Node) -> None:
        outputs = list(node.outputs())
        results = self._results(node)
        if len(outputs) == 1:
            results = [results]
        for output, result in zip(outputs, results or (), strict=False):
            self.values[output.debugName()] = result

    def _read(self, name: Node) -> Value:
        value = self.values[name.debugName()]
        if isinstance(value, Stale):
            raise UnsupportedLayerError(
                value.operator, "changes a tensor in place that is read again as a view"
            )
        return value

    def _results(self, node: Node) -> Value:
        kind = node.kind()
        if kind == "prim::Constant":
            return next(node.outputs()).toIValue()
        if kind == "prim::If":
            return self._branch(node)
        if kind == "prim::Loop":
            return self._loop(node)
        arguments = tuple(self._read(name) for name in node.inputs())
        if kind == "prim::GetAttr":
            return getattr(arguments[0], node.s("name"))
        name = kind.partition("::")[2]
        if name in SHAPE_OPERATORS:
            return SHAPE_OPERATORS[name](*arguments)
        call = Call(self.builder, node, _layer_name(node), arguments)
        symbolic = depends_on_input(list(arguments))
        if symbolic or has_tensor(arguments) or name not in ARITHMETIC:
            refuse_batch_size(call.name, arguments, reshapes=name in RESHAPES)
        if symbolic:
            return self._by_rule(call, name)
        return _constant(call, name)

    def _by_rule(self, call: Call, name: str) -> Value:
        in_place = _in_place(name)
        rule = self.rules.get(name.rstrip("_") if in_place else name)
        if rule is None:
            call.refuse(f"operator {call.operator} has no rule")
        result, changed = rule(call), call.arguments[0]
        if not (in_place and isinstance(changed, Symbol)):
            return result
        if not isinstance(result, Symbol):
            call.refuse(f"operator {call.operator} changes its input in place")
        renamed = Symbol(result.position, result.example, changed.storage)
        for key, value in self.values.items():
            self.values[key] = _replaced(value, changed, renamed, call.name)
        return renamed

    def _branch(self, node: Node) -> Value:
        condition = _known(self._read(next(node.inputs())))
        blocks = list(node.blocks())
        results = self.block(blocks[0] if condition else blocks[1])
        return results[0] if len(results) == 1 else results

    def _loop(self, node: Node) -> Value:
        trips, condition, *carried = [self._read(name) for name in node.inputs()]
        if holds_batch_size([trips]):
            raise UnsupportedLayerError("loop", "runs once for each sample")
        block = next(node.blocks())
        iteration = 0
        while iteration < trips and _known(condition):
            if iteration == MAX_ITERATIONS:
                raise UnsupportedLayerError("loop", "runs more often than is read")
            values = (iteration, *carried)
            for name, value in zip(block.inputs(), values, strict=True):
                self.values[name.debugName()] = value
            condition, *carried = self.block(block)
            iteration += 1
        return carried[0] if len(carried) == 1 else carried


def _constant(call: Call, name: str) -> Value:
    """Run an operator on values that are known."""
    if name in ARITHMETIC and not has_tensor(call.arguments):
        result = ARITHMETIC[name](*call.arguments[:2])
        return followed(call.name, result, call.arguments)
    if _in_place(name):
        call.refuse(
            f"operator {call.operator} changes a buffer, so the model keeps state",
            remedy=EVAL_REMEDY,
        )
    if name not in CONSTANT_OPERATORS:
        call.refuse(f"operator {call.operator} on constants is not allowed")
    schema = torch._C.parse_schema(call.node.schema())
    pairs = list(zip(schema.arguments, call.arguments, strict=False))
    positional = [value for argument, value in pairs if not argument.kwarg_only]
    keywords = {argument.name: v for argument, v in pairs if argument.kwarg_only}
    operator = new_tensor if name == "tensor" else getattr(torch.ops.aten, name)
    try:
        return operator(*positional, **keywords)
    except UNREADABLE as error:
        call.refuse(f"operator {call.operator} cannot be computed: {error}")


def _known(condition: Value) -> bool:
    if depends_on_input([condition]):
        raise UnsupportedLayerError(
            "if", "the model branches on the data, so no graph stands for it"
        )
    if holds_batch_size([condition]):
        raise UnsupportedLayerError("if", "the model branches on the batch size")
    return bool(condition)


def _in_place(name: str) -> bool:
    return name.endswith("_") and not name.startswith("__")


def _layer_name(node: Node) -> str:
    """The name of the module whose weights ``node`` reads, or the operator's."""
    for source in node.inputs():
        words = source.debugName().split(".")
        if words[0] == "self" and len(words) > 2:
            return ".".join(words[1:-1])
    return str(node.kind()).partition("::")[2].strip("_")


def _replaced(value: Value, old: Symbol, new: Symbol, name: str) -> Value:
    """``value`` after ``old`` was changed in place into ``new``."""
    if isinstance(value, list):
        value[:] = [_replaced(item, old, new, name) for item in value]
        return value
    if not isinstance(value, Symbol) or value.storage != old.storage:
        return value
    return new if value.position == old.position else Stale(name)
