"""Operators on values that do not depend on the input, computed by numpy.

Their results are bounded before they are computed, so that a crafted file takes no
more memory than it brings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from robustcert.graph.onnx.call import Call
from robustcert.graph.onnx.values import Array

LARGEST = 2**26
"""Numbers that one result may hold."""

DTYPES: dict[int, type[np.generic]] = {
    1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 9: np.bool_,
    10: np.float16, 11: np.float64,
}  # fmt: skip


def constant(call: Call) -> Array:
    """``Constant``: its value is an attribute."""
    attributes = call.node.attributes
    for name in ("value_int", "value_ints"):
        if name in attributes:
            return np.asarray(attributes[name], dtype=np.int64)
    for name in ("value_float", "value_floats"):
        if name in attributes:
            return np.asarray(attributes[name], dtype=np.float32)
    value = attributes.get("value")
    if not isinstance(value, np.ndarray):
        call.refuse("is a constant of an unusual type")
    return value


def shape(call: Call) -> Array:
    """``Shape``, of anything: the batch counts as the size it is read with."""
    sizes = call.shape_of(call.value(0))
    rank = len(sizes)
    return np.asarray(
        sizes[call.integer("start", 0) : call.integer("end", rank)], dtype=np.int64
    )


def elementwise(function: Callable[..., Any]) -> Callable[[Call], Array]:
    """The rule of a function of each element; its type is that of its input."""

    def rule(call: Call) -> Array:
        arrays = [call.array(place) for place in range(len(call.arguments))]
        _bound(call, np.broadcast_shapes(*(array.shape for array in arrays)))
        if any(not np.issubdtype(array.dtype, np.number) for array in arrays):
            call.refuse("computes with values that are no numbers")
        with np.errstate(all="ignore"):
            return np.asarray(function(*arrays)).astype(arrays[0].dtype)

    return rule


def divided(first: Array, second: Array) -> Array:
    """Integers are divided towards zero, as in C."""
    if not np.issubdtype(first.dtype, np.integer):
        return np.asarray(np.true_divide(first, second))
    return np.asarray(np.trunc(np.true_divide(first, second)))


def cast(call: Call) -> Array:
    """``Cast``."""
    wanted = DTYPES.get(call.integer("to", 0))
    if wanted is None:
        call.refuse("converts a constant to an unusual type")
    with np.errstate(all="ignore"):
        return call.array(0).astype(wanted)


def gather(call: Call) -> Array:
    """``Gather(data, indices)`` along ``axis``."""
    data, places = call.array(0), call.array(1)
    axis = call.integer("axis", 0)
    _bound(call, (data.size, *places.shape))
    flat = call.whole(1)
    found = np.take(data, np.asarray(flat).reshape(places.shape), axis=axis)
    return np.asarray(found)


def unsqueeze(call: Call) -> Array:
    """``Unsqueeze``."""
    return np.expand_dims(call.array(0), tuple(call.axes(1) or ()))


def squeeze(call: Call) -> Array:
    """``Squeeze``."""
    axes = call.axes(1)
    return np.squeeze(call.array(0), None if axes is None else tuple(axes))


def concat(call: Call) -> Array:
    """``Concat``."""
    arrays = [call.array(place) for place in range(len(call.arguments))]
    _bound(call, (sum(array.size for array in arrays),))
    return np.concatenate(arrays, axis=call.integer("axis", 0))


def reshape(call: Call) -> Array:
    """``Reshape``."""
    data, target = call.array(0), call.whole(1)
    if not call.integer("allowzero", 0):
        target = [
            data.shape[place] if size == 0 and place < data.ndim else size
            for place, size in enumerate(target)
        ]
    return data.reshape(target)


def transpose(call: Call) -> Array:
    """``Transpose``."""
    data = call.array(0)
    return data.transpose(call.integers("perm", range(data.ndim)[::-1]))


def slices(call: Call) -> Array:
    """``Slice``."""
    data = call.array(0)
    return data[slice_index(call, data.shape)]


def slice_index(call: Call, sizes: Sequence[int]) -> tuple[slice, ...]:
    """What ``Slice(data, starts, ends, axes, steps)`` takes of data of these sizes.

    Before opset 10, starts, ends and axes are attributes.
    """
    if call.count > 1:
        starts, ends, axes = call.whole(1), call.whole(2), call.axes(3)
    else:
        starts, ends = (_attribute(call, name) for name in ("starts", "ends"))
        axes = call.axes(1)
    axes = list(range(len(starts))) if axes is None else axes
    steps = call.whole(4) if call.value(4) is not None else [1] * len(starts)
    index = [slice(None)] * len(sizes)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        stop = None if step < 0 and end < -sizes[axis] else end
        index[axis] = slice(start, stop, step)
    return tuple(index)


def _attribute(call: Call, name: str) -> list[int]:
    value = call.node.attributes.get(name)
    if not isinstance(value, list):
        call.refuse(f"has no {name}")
    return [int(number) for number in value]


def filled(call: Call) -> Array:
    """``ConstantOfShape``."""
    sizes = call.whole(0)
    _bound(call, sizes)
    value = call.node.attributes.get("value", np.zeros(1, dtype=np.float32))
    if not isinstance(value, np.ndarray) or value.size != 1:
        call.refuse("fills a tensor with an unusual value")
    return np.full(sizes, value.reshape(()), dtype=value.dtype)


def expand(call: Call) -> Array:
    """``Expand``: broadcast in both directions."""
    data, sizes = call.array(0), call.whole(1)
    whole = np.broadcast_shapes(data.shape, tuple(sizes))
    _bound(call, whole)
    return np.array(np.broadcast_to(data, whole))


def same(call: Call) -> Array:
    """``Identity``, and ``Dropout`` of a constant."""
    return call.array(0)


def _bound(call: Call, sizes: tuple[int, ...] | list[int]) -> None:
    if any(size < 0 for size in sizes) or math.prod(sizes) > LARGEST:
        call.refuse(f"computes a constant of more than {LARGEST} numbers")


CONSTANT_RULES: dict[str, Callable[[Call], Array]] = {
    "Constant": constant,
    "Shape": shape,
    "Add": elementwise(np.add),
    "Sub": elementwise(np.subtract),
    "Mul": elementwise(np.multiply),
    "Div": elementwise(divided),
    "Neg": elementwise(np.negative),
    "Sqrt": elementwise(np.sqrt),
    "Reciprocal": elementwise(np.reciprocal),
    "Pow": elementwise(np.power),
    "Exp": elementwise(np.exp),
    "Cast": cast,
    "Gather": gather,
    "Unsqueeze": unsqueeze,
    "Squeeze": squeeze,
    "Concat": concat,
    "Reshape": reshape,
    "Transpose": transpose,
    "Slice": slices,
    "ConstantOfShape": filled,
    "Expand": expand,
    "Identity": same,
}
"""Operators that may run on constants."""
