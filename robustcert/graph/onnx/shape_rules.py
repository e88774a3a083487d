"""Operators that move coordinates about, or leave them as they are."""

from __future__ import annotations

import math

import numpy as np

from robustcert.graph.build import Final, Symbol
from robustcert.graph.layers import Concat, Permute
from robustcert.graph.onnx.call import BATCH_REMEDY, EVAL_REMEDY, Call
from robustcert.graph.onnx.values import ErrorTerm

_FLOATS = (1, 11)
"""Types that hold a float32 number: float and double."""


def reshape(call: Call) -> Symbol:
    """``Reshape(x, shape)``: 0 keeps a dimension, -1 is what is left."""
    source, target = call.symbol(), call.whole(1)
    before = call.shape_of(source)
    if not call.integer("allowzero", 0):
        target = [
            before[place] if size == 0 and place < len(before) else size
            for place, size in enumerate(target)
        ]
    if target.count(-1) == 1:
        known = -math.prod(target)
        rest = math.prod(before) // known if known else 0
        target = [rest if size == -1 else size for size in target]
    return call.reshaped(source, target)


def flatten(call: Call) -> Symbol:
    """``Flatten(x)``: the dimensions before ``axis`` as one, and those from it on."""
    source = call.symbol()
    before = call.shape_of(source)
    axis = call.integer("axis", 1)
    if not -len(before) <= axis <= len(before):
        call.refuse(f"flattens at the dimension {axis}, which is not there")
    place = axis % len(before) if axis < 0 else axis
    target = (math.prod(before[:place]), math.prod(before[place:]))
    return call.reshaped(source, target)


def squeeze(call: Call) -> Symbol:
    """``Squeeze(x)``: dimensions of size 1 left out."""
    source = call.symbol()
    before = call.shape_of(source)
    axes = call.axes(1)
    if axes is None:
        axes = [place for place, size in enumerate(before) if size == 1]
    gone = {axis % len(before) for axis in axes}
    if 0 in gone:
        call.refuse("drops the batch dimension", remedy=BATCH_REMEDY)
    target = [size for place, size in enumerate(before) if place not in gone]
    return call.reshaped(source, target)


def unsqueeze(call: Call) -> Symbol:
    """``Unsqueeze(x)``: new dimensions of size 1."""
    source = call.symbol()
    before = call.shape_of(source)
    axes = call.axes(1) or []
    rank = len(before) + len(axes)
    places = {axis % rank for axis in axes}
    if len(places) != len(axes):
        call.refuse("adds a dimension twice")
    rest = iter(before)
    return call.reshaped(
        source, [1 if place in places else next(rest) for place in range(rank)]
    )


def transpose(call: Call) -> Symbol:
    """``Transpose(x)`` that leaves the batch first."""
    source = call.symbol()
    rank = len(source.shape) + 1
    order = call.integers("perm", range(rank)[::-1])
    if sorted(order) != list(range(rank)):
        call.refuse(f"has the unusual order {order}")
    if order[0] != 0:
        call.refuse("moves the batch dimension", remedy=BATCH_REMEDY)
    return call.add(Permute, source, order=tuple(place - 1 for place in order[1:]))


def concat(call: Call) -> Symbol:
    """``Concat(x, y, ...)`` along anything but the batch."""
    sources = [call.symbol(place) for place in range(len(call.arguments))]
    axis, rank = call.integer("axis", 1), len(sources[0].shape) + 1
    if not -rank <= axis < rank or axis % rank == 0:
        call.refuse("concatenates along the batch", remedy=BATCH_REMEDY)
    return call.add(Concat, *sources, dim=axis % rank - 1)


def same(call: Call) -> Symbol | Final | ErrorTerm:
    """An operator that gives its input back."""
    value = call.value(0)
    if isinstance(value, Final | ErrorTerm):
        return value
    return call.symbol()


def dropout(call: Call) -> Symbol:
    """Dropout in eval mode does nothing."""
    if call.value(2) is not None and np.any(call.array(2)):
        call.refuse(
            "is a dropout in train mode: the model is random", remedy=EVAL_REMEDY
        )
    return call.symbol()


def cast(call: Call) -> Symbol:
    """A conversion; to a narrower type than float32 it would change the function."""
    if call.integer("to", 0) not in _FLOATS:
        call.refuse("converts its input to something other than float32 or float64")
    return call.symbol()
