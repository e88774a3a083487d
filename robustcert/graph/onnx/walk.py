"""A walk over the operators of an ONNX file, in its order.

Values that do not depend on the input are computed; tensors that do become layers. An
operator without a rule is refused by its name, also where nothing reads its output.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from robustcert.archive.onnx_scan import OPSETS
from robustcert.errors import ModelLoadError, UnsupportedLayerError
from robustcert.graph.build import EXAMPLE_BATCH, Final, GraphBuilder, Symbol
from robustcert.graph.layers import Shape
from robustcert.graph.onnx.batch_marks import marks_of
from robustcert.graph.onnx.call import Call
from robustcert.graph.onnx.constants import CONSTANT_RULES
from robustcert.graph.onnx.rules import RULES
from robustcert.graph.onnx.values import Above, Array, ErrorTerm, Value
from robustcert.models.onnx import OnnxModel, OnnxNode, shown

READING_ERRORS = (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError)
"""What numpy and torch raise where shapes, types or numbers do not fit."""


@dataclass(slots=True)
class Walk:
    """The state of one walk: the builder, the value of every name, and marks.

    See :mod:`robustcert.graph.onnx.batch_marks` for the latter.
    """

    builder: GraphBuilder
    opset: int
    batch: int
    values: dict[str, Value] = field(default_factory=dict)
    marks: dict[str, Array] = field(default_factory=dict)

    def node(self, node: OnnxNode) -> None:
        """Give the node's outputs their values.

        Where the rule gives one value it is the first output's; the others have none.
        """
        arguments = tuple(self.read(name) if name else None for name in node.inputs)
        call = Call(self.builder, node, self.opset, self.batch, arguments)
        if not node.outputs or not node.outputs[0]:
            call.refuse(f"{node.operator} gives nothing")
        if not self.values.keys().isdisjoint(filter(None, node.outputs)):
            call.refuse(f"{node.operator} gives a value that is there already")
        result = _result(call)
        if isinstance(result, list):
            self._give(call, result)
        else:
            self.values[node.outputs[0]] = result
        marks = marks_of(call, self.marks)
        if marks is not None:
            self.marks[node.outputs[0]] = marks

    def _give(self, call: Call, parts: list[Symbol]) -> None:
        names = call.node.outputs
        if len(names) != len(parts) or len(set(names)) != len(names):
            call.refuse(f"gives {len(parts)} values to {len(names)} names")
        self.values.update(zip(names, parts, strict=True))

    def read(self, name: str) -> Value:
        """The value of ``name``, which an earlier node has given."""
        if name not in self.values:
            raise UnsupportedLayerError(
                shown(name),
                "is read, but no earlier operator gives it",
                remedy="Check the file: onnx.checker.check_model(FILE).",
            )
        return self.values[name]


def walked(
    model: OnnxModel, builder: GraphBuilder, own: Shape, taken: Shape
) -> Symbol | Final:
    """The model's output, its layers being handed to ``builder``.

    Args:
        model: as parsed.
        builder: empty.
        own: shape of the file's input without the batch.
        taken: shape of the inputs that are to be given; as many numbers, which a first
            layer puts into the shape ``own``, in row-major order.

    Raises:
        UnsupportedLayerError: names the operator without a rule.
        ModelLoadError: the operators' version is unknown.
    """
    if model.opset not in OPSETS:
        raise ModelLoadError(
            f"the ONNX file uses version {model.opset} of the operators; known are "
            f"{OPSETS.start} to {OPSETS.stop - 1}",
            remedy="Export it again with an opset in this range, such as 17.",
        )
    walk = Walk(builder, model.opset, model.batch or EXAMPLE_BATCH)
    walk.values.update(model.constants)
    start = builder.start(taken)
    example = start.example.reshape(EXAMPLE_BATCH, *own)
    walk.values[model.input_name] = builder.reshape("input_shape", start, example)
    for node in model.nodes:
        walk.node(node)
    output = walk.read(model.output_name)
    if not isinstance(output, Symbol | Final):
        raise UnsupportedLayerError("output", "does not depend on the input")
    return output


def _result(call: Call) -> Value | list[Symbol]:
    operator = call.node.operator
    known = not any(
        isinstance(argument, Symbol | Final | ErrorTerm | Above)
        for argument in call.arguments
    )
    table = CONSTANT_RULES if known or operator == "Shape" else RULES
    if operator not in table:
        where = "on constants" if known and operator in RULES else "for it"
        call.refuse(f"operator {operator} has no rule {where}")
    try:
        with np.errstate(all="ignore"):
            return table[operator](call)
    except READING_ERRORS as error:
        call.refuse(f"operator {operator} cannot be read: {error}")
