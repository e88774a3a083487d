"""What a convolution reads and writes on a torus, and average pooling as one.

A layer's values have *valid* positions, ``0`` to its extent; a torus holds more. For an
output o a convolution reads the positions ``stride o + offset``, one a tap, its
offsets being ``dilation t - padding``. Taps without a weight read nothing.
"""

from __future__ import annotations

import math
from itertools import product

import torch

from robustcert.graph.layers import AveragePool, Conv, Layer, Shape


def as_convolution(layer: Layer, input_shape: Shape) -> Conv | None:
    """The convolution that a layer is, without its bias.

    Args:
        layer: any.
        input_shape: ``(channels, *spatial)``.

    Returns:
        ``None`` for other layers, and for average pooling that divides by different
        numbers at the border.
    """
    match layer:
        case Conv():
            return layer
        case AveragePool():
            return _averaging(layer, input_shape)
        case _:
            return None


def window_padding(
    extent: int, outputs: int, reach: int, stride: int, before: int
) -> tuple[int, int]:
    """Padding (before, after) with which ``outputs`` windows end inside.

    Args:
        extent: positions of the input.
        outputs: of the pooling, its rounding mode included.
        reach: distance from a window's first position to its last.
        stride: distance from one window to the next.
        before: padding in front.
    """
    end = stride * (outputs - 1) - before + reach + 1
    return before, max(0, end - extent)


def needed_sizes(layer: Conv, input_shape: Shape) -> Shape:
    """Smallest torus of the input on which valid outputs read nothing by wrapping.

    Along one dimension with extent h, a position q < 0 is read at N + q, which must
    not be valid: ``N >= h - q``. A position q >= h must not wrap: ``N >= q + 1``. Both
    sides may share one strip of zeros.
    """
    sizes = []
    for dim, extent in enumerate(input_shape[1:]):
        first, last = _reads(layer, dim)
        sizes.append(max(extent, extent - first, last + 1))
    return tuple(sizes)


def reads_outside(layer: Conv, input_shape: Shape) -> bool:
    """Whether a valid output reads a position that is not valid."""
    return any(
        first < 0 or last >= extent
        for (first, last), extent in zip(
            (_reads(layer, dim) for dim in range(len(layer.stride))),
            input_shape[1:],
            strict=True,
        )
    )


def keeps_zeros(layer: Conv, input_shape: Shape) -> bool:
    """Whether outputs are zero off their valid positions where the inputs are."""
    for dim, extent in enumerate(input_shape[1:]):
        low, high = _offsets(layer, dim)
        first = -(high // layer.stride[dim])
        last = (extent - 1 - low) // layer.stride[dim]
        if first < 0 or last >= layer.shape[1 + dim]:
            return False
    return True


def taps_in_order(layer: Conv) -> list[Shape]:
    """Offset of each tap, one number a dimension, in the order of the weights."""
    along = [
        [step * tap - before for tap in range(size)]
        for size, step, (before, _) in zip(
            layer.weight.shape[2:], layer.dilation, layer.padding, strict=True
        )
    ]
    return list(product(*along))


def _reads(layer: Conv, dim: int) -> tuple[int, int]:
    """The first and last position that valid outputs read along ``dim``."""
    low, high = _offsets(layer, dim)
    return low, layer.stride[dim] * (layer.shape[1 + dim] - 1) + high


def _offsets(layer: Conv, dim: int) -> tuple[int, int]:
    """Smallest and largest offset of a tap with a weight."""
    rows = layer.weight.movedim(2 + dim, 0).flatten(1)
    taps = [int(tap) for tap in (rows != 0.0).any(dim=1).nonzero()[:, 0]]
    before = layer.padding[dim][0]
    if not taps:
        return 0, 0
    return layer.dilation[dim] * taps[0] - before, layer.dilation[dim] * taps[
        -1
    ] - before


def _averaging(layer: AveragePool, input_shape: Shape) -> Conv | None:
    dims = range(len(layer.kernel))
    padding = tuple(
        window_padding(
            input_shape[1 + dim],
            layer.shape[1 + dim],
            layer.kernel[dim] - 1,
            layer.stride[dim],
            layer.padding[dim],
        )
        for dim in dims
    )
    counted = layer.padding if layer.count_padding else tuple(0 for _ in dims)
    if any(
        before > most or after > most
        for (before, after), most in zip(padding, counted, strict=True)
    ):
        return None
    channels = input_shape[0]
    share = 1.0 / math.prod(layer.kernel)
    return Conv(
        layer.name,
        layer.inputs,
        layer.shape,
        weight=torch.full((channels, 1, *layer.kernel), share, dtype=torch.float64),
        bias=None,
        stride=layer.stride,
        padding=padding,
        dilation=tuple(1 for _ in dims),
        groups=channels,
    )
