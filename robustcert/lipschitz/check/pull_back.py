"""Linear layers read backwards: from rows of a matrix at outputs to rows at inputs.

A row of a linear map is a gradient of one of its outputs; reading layer after layer
backwards multiplies the row by each layer's matrix, which is never written out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.layers import (
    Add,
    Affine,
    AveragePool,
    Concat,
    Conv,
    Elementwise,
    Gather,
    Input,
    Layer,
    Linear,
    Mean,
    Permute,
    Reshape,
    Shape,
)
from robustcert.lipschitz.check.definite import Array
from robustcert.lipschitz.check.windows import (
    averaging_divisors,
    scattered,
    window_of,
)

FOLDING = 16
"""Roundings granted to each weight for folding scales into it."""


def numbers(tensor: Tensor) -> Array:
    """The tensor as an array of float64."""
    values: Array = tensor.detach().cpu().double().numpy()
    return values


def pulled_back(layer: Layer, rows: Array, shapes: Sequence[Shape]) -> list[Array]:
    """Rows at the layer's inputs.

    Args:
        layer: linear.
        rows: ``(R, *layer.shape)``.
        shapes: of the layer's inputs.

    Returns:
        ``(R, *shape)`` for each input, to be added up where an input is read twice.

    Raises:
        UnsupportedLayerError: the layer is not linear.
    """
    rule = _RULES.get(type(layer))
    if rule is None:
        raise UnsupportedLayerError(layer.name, f"{layer.kind} is not linear")
    return rule(layer, rows, shapes)


def magnitude(layer: Layer) -> Layer:
    """The layer with the absolute values of its weights, which bounds every entry."""
    match layer:
        case Linear() | Conv():
            return replace(layer, weight=layer.weight.abs())
        case Affine():
            return replace(layer, scale=layer.scale.abs())
        case Add():
            return replace(layer, weight=abs(layer.weight))
        case _:
            return layer


def roundings(layer: Layer, shapes: Sequence[Shape]) -> int:
    """How many roundings in a row an entry may meet when it is pulled back."""
    copies = sum(math.prod(layer.shape) // math.prod(shape) for shape in shapes)
    match layer:
        case Linear():
            return layer.weight.shape[0] + FOLDING + 2
        case Conv():
            taps = math.prod(layer.weight.shape[2:])
            return (layer.weight.shape[0] + 1) * taps + FOLDING + 2
        case AveragePool():
            return math.prod(layer.kernel) + 6
        case Gather():
            return layer.most_uses + FOLDING + 6
        case _:
            return copies + FOLDING + 6


def smallest_exponent(layer: Layer) -> int:
    """A number k: every weight, or slope, is zero or at least ``2**k`` in size."""
    match layer:
        case Linear() | Conv():
            weights = numbers(layer.weight)
        case Affine():
            weights = numbers(layer.scale)
        case Add():
            weights = np.array([layer.weight])
        case AveragePool():
            weights = np.array([1.0 / math.prod(layer.kernel)])
        case Elementwise():
            low, high = layer.activation.slopes
            weights = np.array([low, high, high - low])
        case Input():
            return 0
        case _:
            return -64  # a mean over fewer than 2**64 positions
    sizes = np.abs(weights[weights != 0.0])
    return int(np.frexp(sizes.min(initial=1.0))[1]) - 1


def _linear(layer: Linear, rows: Array, _: Sequence[Shape]) -> list[Array]:
    return [rows @ numbers(layer.weight)]


def _conv(layer: Conv, rows: Array, shapes: Sequence[Shape]) -> list[Array]:
    weight = numbers(layer.weight)
    outputs, inputs = len(weight) // layer.groups, weight.shape[1]
    parts = []
    for group in range(layer.groups):
        own = slice(group * outputs, (group + 1) * outputs)
        parts.append(
            scattered(
                window_of(layer),
                (inputs, *shapes[0][1:]),
                _shares(weight[own], rows[:, own]),
                rows.shape,
            )
        )
    return [np.concatenate(parts, axis=1)]


def _shares(kernel: Array, rows: Array) -> Callable[[Shape], Array]:
    """What each tap ``(out, in)`` of the kernel sends back, ``(R, in, *outputs)``."""

    def share(tap: Shape) -> Array:
        place: tuple[Any, ...] = (slice(None), slice(None), *tap)
        sent = np.tensordot(rows, kernel[place], axes=(1, 0))
        return np.moveaxis(sent, -1, 1)

    return share


def _average_pool(
    layer: AveragePool, rows: Array, shapes: Sequence[Shape]
) -> list[Array]:
    shared = rows
    for dim, divisor in enumerate(averaging_divisors(layer, shapes[0][1:])):
        after = (1,) * (len(layer.kernel) - 1 - dim)
        shared = shared / divisor.reshape(-1, *after)
    return [scattered(window_of(layer), shapes[0], lambda _: shared, rows.shape)]


def _affine(layer: Affine, rows: Array, shapes: Sequence[Shape]) -> list[Array]:
    return [_gathered(rows * numbers(layer.scale), shapes[0])]


def _mean(layer: Mean, rows: Array, shapes: Sequence[Shape]) -> list[Array]:
    dims = tuple(dim % len(shapes[0]) for dim in layer.dims)
    kept = tuple(1 if d in dims else n for d, n in enumerate(shapes[0]))
    count = math.prod(shapes[0][d] for d in dims)
    spread = rows.reshape(len(rows), *kept) / count
    return [np.broadcast_to(spread, (len(rows), *shapes[0]))]


def _reshape(_: Reshape, rows: Array, shapes: Sequence[Shape]) -> list[Array]:
    return [rows.reshape(len(rows), *shapes[0])]


def _permute(layer: Permute, rows: Array, _: Sequence[Shape]) -> list[Array]:
    back = np.argsort(layer.order) + 1
    return [rows.transpose(0, *back)]


def _gather(layer: Gather, rows: Array, shapes: Sequence[Shape]) -> list[Array]:
    places = layer.places.flatten().cpu().numpy()
    read = places >= 0
    found = np.zeros((math.prod(shapes[0]), len(rows)))
    np.add.at(found, places[read], rows.reshape(len(rows), -1).T[read])
    return [found.T.reshape(len(rows), *shapes[0])]


def _add(layer: Add, rows: Array, shapes: Sequence[Shape]) -> list[Array]:
    return [_gathered(rows, shapes[0]), _gathered(layer.weight * rows, shapes[1])]


def _concat(layer: Concat, rows: Array, shapes: Sequence[Shape]) -> list[Array]:
    axis = layer.dim % len(layer.shape)
    ends = np.cumsum([shape[axis] for shape in shapes])[:-1]
    return np.split(rows, ends, axis=axis + 1)


def _gathered(rows: Array, shape: Shape) -> Array:
    """Rows at a value of ``shape`` that was copied to the shape of ``rows``."""
    missing = rows.ndim - 1 - len(shape)
    total = rows.sum(axis=tuple(range(1, 1 + missing))) if missing else rows
    copied = tuple(
        1 + d for d, n in enumerate(shape) if n == 1 and total.shape[1 + d] != 1
    )
    return total.sum(axis=copied, keepdims=True) if copied else total


_RULES: dict[type[Layer], Callable[[Any, Array, Sequence[Shape]], list[Array]]] = {
    Linear: _linear,
    Conv: _conv,
    Affine: _affine,
    AveragePool: _average_pool,
    Mean: _mean,
    Reshape: _reshape,
    Permute: _permute,
    Gather: _gather,
    Add: _add,
    Concat: _concat,
}
