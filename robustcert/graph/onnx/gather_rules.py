"""Operators that take coordinates of their input to other places: slices, padding.

Their indices are constants. They run on numbered coordinates only; see
:mod:`robustcert.graph.placement`.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch

from robustcert.graph.build import Symbol
from robustcert.graph.layers import Affine
from robustcert.graph.onnx.call import Call
from robustcert.graph.onnx.constants import LARGEST, slice_index
from robustcert.graph.onnx.values import Array
from robustcert.graph.onnx.windows import Sides
from robustcert.graph.placement import numbered

_Mode = Literal["constant", "reflect", "edge", "wrap"]
_MODES: dict[str, _Mode] = {
    "constant": "constant",
    "reflect": "reflect",
    "edge": "edge",
    "wrap": "wrap",
}
"""Of padding; numpy has the same words for them."""
_SIDES_AS_INPUT = 11
"""From this opset on, what is padded is an input and no attribute."""


def slices(call: Call) -> Symbol:
    """``Slice(x, starts, ends, axes, steps)``."""
    numbers = _numbers(call)
    return _placed(call, numbers[slice_index(call, numbers.shape)])


def gather(call: Call) -> Symbol:
    """``Gather(x, indices)`` along ``axis``."""
    numbers, axis = _numbers(call), call.integer("axis", 0)
    indices = np.asarray(call.whole(1), dtype=np.int64).reshape(call.array(1).shape)
    _require_small(call, numbers.size // numbers.shape[axis] * indices.size)
    return _placed(call, np.take(numbers, indices, axis=axis))


def split(call: Call) -> list[Symbol]:
    """``Split(x, sizes)`` along ``axis``; without sizes into parts of one size."""
    numbers, axis = _numbers(call), call.integer("axis", 0)
    sizes = _split_sizes(call, numbers.shape[axis])
    if min(sizes) < 1 or sum(sizes) != numbers.shape[axis]:
        call.refuse(f"splits {numbers.shape[axis]} into {sizes}")
    parts = np.split(numbers, np.cumsum(sizes)[:-1], axis=axis)
    return [_placed(call, part) for part in parts]


def expand(call: Call) -> Symbol:
    """``Expand(x, shape)``: copies along dimensions of size 1."""
    numbers = _numbers(call)
    sizes = np.broadcast_shapes(numbers.shape, (1,) * numbers.ndim, call.whole(1))
    _require_small(call, math.prod(sizes))
    return _placed(call, np.broadcast_to(numbers, sizes))


def tile(call: Call) -> Symbol:
    """``Tile(x, repeats)``."""
    numbers, repeats = _numbers(call), call.whole(1)
    _require_small(call, numbers.size * math.prod(repeats))
    return _placed(call, np.tile(numbers, repeats))


def depth_to_space(call: Call) -> Symbol:
    """``DepthToSpace(x)``: channels become blocks of pixels, columns first or last."""
    numbers, size = _numbers(call), call.integer("blocksize", 1)
    rows, _, height, width = numbers.shape
    if call.text("mode", "DCR") == "CRD":
        parts = numbers.reshape(rows, -1, size, size, height, width)
        turned = parts.transpose(0, 1, 4, 2, 5, 3)
    else:
        parts = numbers.reshape(rows, size, size, -1, height, width)
        turned = parts.transpose(0, 3, 4, 1, 5, 2)
    return _placed(call, turned.reshape(rows, -1, height * size, width * size))


def space_to_depth(call: Call) -> Symbol:
    """``SpaceToDepth(x)``: blocks of pixels become channels."""
    numbers, size = _numbers(call), call.integer("blocksize", 1)
    rows, channels, height, width = numbers.shape
    down, across = height // size, width // size
    parts = numbers.reshape(rows, channels, down, size, across, size)
    turned = parts.transpose(0, 3, 5, 1, 2, 4)
    return _placed(call, turned.reshape(rows, -1, down, across))


def pad(call: Call) -> Symbol:
    """``Pad(x, sides, value, axes)``: by a constant, or by the input's own edge."""
    numbers, mode = _numbers(call), call.text("mode", "constant")
    if mode not in _MODES:
        call.refuse(f"has the unknown mode {mode!r}")
    sides, shift = _sides(call, numbers.ndim), _padding_value(call)
    more = [(max(0, before), max(0, after)) for before, after in sides]
    sizes = zip(numbers.shape, more, strict=True)
    _require_small(call, math.prod(size + sum(pair) for size, pair in sizes))
    moved = _cropped(np.pad(numbers, more, _MODES[mode]), sides)
    found = _placed(call, moved)
    if mode != "constant" or shift == 0.0:
        return found
    outside = torch.from_numpy(moved[0] == 0.0)
    one = torch.ones((), dtype=torch.float64)
    return call.add(Affine, found, scale=one, shift=outside.double() * shift)


def _cropped(values: Array, sides: Sides) -> Array:
    """Without what negative padding takes off."""
    kept = tuple(
        slice(max(0, -before), size - max(0, -after))
        for size, (before, after) in zip(values.shape, sides, strict=True)
    )
    return values[kept]


def _numbers(call: Call) -> Array:
    numbers: Array = numbered(call.symbol().shape).numpy()
    return numbers


def _placed(call: Call, moved: Array) -> Symbol:
    # a copy, because torch takes no view that runs backwards
    found = torch.tensor(np.array(moved), dtype=torch.float64)
    return call.builder.gather(call.name, call.symbol(), found)


def _split_sizes(call: Call, whole: int) -> list[int]:
    if call.value(1) is not None:
        return call.whole(1)
    given = call.node.attributes.get("split")
    if isinstance(given, list):
        return [int(size) for size in given]
    count = call.integer("num_outputs", len(call.node.outputs))
    if not 0 < count <= whole:
        call.refuse(f"splits {whole} into {count} parts")
    size = -(-whole // count)
    return [size] * (whole // size) + ([whole % size] if whole % size else [])


def _sides(call: Call, rank: int) -> Sides:
    """What is padded before and after, in each dimension."""
    axes = list(range(rank))
    if call.opset < _SIDES_AS_INPUT:
        pads = list(call.integers("pads", (0,) * (2 * rank)))
    else:
        pads = call.whole(1)
        if call.value(3) is not None:
            axes = [axis % rank for axis in call.whole(3)]
    if len(pads) != 2 * len(axes) or len(set(axes)) != len(axes):
        call.refuse(f"pads {len(axes)} dimensions by {len(pads)} numbers")
    sides = [(0, 0)] * rank
    for axis, before, after in zip(
        axes, pads[: len(axes)], pads[len(axes) :], strict=True
    ):
        sides[axis] = before, after
    return tuple(sides)


def _padding_value(call: Call) -> float:
    if call.opset < _SIDES_AS_INPUT:
        return call.number("value", 0.0)
    value = call.optional(2)
    shift = 0.0 if value is None else value.item()
    if not math.isfinite(shift):
        call.refuse(f"pads with {shift}")
    return shift


def _require_small(call: Call, size: int) -> None:
    if size > LARGEST:
        call.refuse(f"makes more than {LARGEST} numbers of its input")
