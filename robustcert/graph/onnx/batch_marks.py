"""Which numbers of a computed constant depend on how many samples a batch has.

A file may compute with the size of its batch, and a reading made with one size would
be right for that size alone. So these numbers are marked. Operators that only move
numbers move the marks too; a reshape may take a marked one as its first size, which
can only be the batch size itself; every other use is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from robustcert.graph.build import Symbol
from robustcert.graph.onnx.call import BATCH_REMEDY, Call
from robustcert.graph.onnx.constants import CONSTANT_RULES
from robustcert.graph.onnx.values import Array

MOVING = frozenset(
    {"Cast", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Transpose"}
    | {"Unsqueeze"}
)
"""Operators whose output holds numbers of their first input and nothing else."""


def marks_of(call: Call, known: Mapping[str, Array]) -> Array | None:
    """Marks of the call's first output, an integer array of 0 and 1.

    Args:
        call: the operator.
        known: marks by name, of those that have any.

    Returns:
        ``None`` where nothing is marked.

    Raises:
        UnsupportedLayerError: the operator computes with a marked number.
    """
    names = call.node.inputs
    marked = [place for place, name in enumerate(names) if name in known]
    if call.node.operator == "Shape" and isinstance(call.value(0), Symbol):
        return _any(_batch_of(call))
    if not marked or _reshapes(call, marked, known):
        return None
    if call.node.operator == "Concat" and not _reads_the_input(call):
        return _any(_moved(call, lambda place: _marks(call, known, place)))
    if call.node.operator in MOVING and marked == [0]:
        first = known[names[0]]
        return _any(_moved(call, lambda place: call.array(place) if place else first))
    return call.refuse("computes with the number of samples", remedy=BATCH_REMEDY)


def _batch_of(call: Call) -> Array:
    """Marks of the shape of a layer's output: its first number."""
    rank = len(call.shape_of(call.value(0)))
    marks = np.zeros(rank, dtype=np.int64)
    marks[0] = 1
    return marks[call.integer("start", 0) : call.integer("end", rank)]


def _reshapes(call: Call, marked: list[int], known: Mapping[str, Array]) -> bool:
    """Whether the batch size is the first size of a reshape, and nothing else."""
    if call.node.operator != "Reshape" or marked != [1]:
        return False
    return not known[call.node.inputs[1]][1:].any()


def _reads_the_input(call: Call) -> bool:
    return any(
        not isinstance(value, np.ndarray)
        for value in call.arguments
        if value is not None
    )


def _marks(call: Call, known: Mapping[str, Array], place: int) -> Array:
    name = call.node.inputs[place]
    return known[name] if name in known else np.zeros_like(call.array(place), np.int64)


def _moved(call: Call, instead: Callable[[int], Array]) -> Array:
    """The operator's rule, applied to other values."""
    arguments = tuple(
        None if value is None else instead(place)
        for place, value in enumerate(call.arguments)
    )
    found = CONSTANT_RULES[call.node.operator](replace(call, arguments=arguments))
    return np.asarray(found).astype(np.int64)


def _any(marks: Array) -> Array | None:
    return marks if marks.any() else None
