"""Windows of convolutions and poolings, one dimension at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from robustcert.graph.layers import AveragePool, Conv, Shape
from robustcert.lipschitz.check.definite import Array


@dataclass(frozen=True, slots=True)
class Window:
    """Which positions a convolution or a pooling reads, one number a dimension."""

    taps: Shape
    stride: Shape
    before: Shape
    dilation: Shape

    def reads(self, dim: int, outputs: range) -> Array:
        """Positions ``(outputs, taps)`` read along ``dim``, also those of padding."""
        first = self.stride[dim] * np.asarray(outputs) - self.before[dim]
        return first[:, None] + self.dilation[dim] * np.arange(self.taps[dim])


def window_of(layer: Conv | AveragePool) -> Window:
    """The layer's window."""
    if isinstance(layer, Conv):
        before = tuple(pair[0] for pair in layer.padding)
        return Window(
            tuple(layer.weight.shape[2:]), layer.stride, before, layer.dilation
        )
    ones = (1,) * len(layer.kernel)
    return Window(layer.kernel, layer.stride, layer.padding, ones)


def averaging_divisors(layer: AveragePool, extents: Shape) -> list[Array]:
    """What each output divides by: the product over dimensions of these ``(outputs,)``.

    A window ends at the padding's end, and counts the padding only if it is told to.
    """
    divisors = []
    for dim, extent in enumerate(extents):
        outputs = np.arange(layer.shape[1 + dim])
        first = layer.stride[dim] * outputs - layer.padding[dim]
        last = np.minimum(first + layer.kernel[dim], extent + layer.padding[dim])
        if not layer.count_padding:
            first, last = np.maximum(first, 0), np.minimum(last, extent)
        divisors.append((last - first).astype(np.float64))
    return divisors


def scattered(
    window: Window, shape: Shape, share: Callable[[Shape], Array], rows: Shape
) -> Array:
    """Sum over taps of ``share(tap)`` ``(R, channels, *outputs)``, where they read."""
    reach = [
        max(
            window.before[d] + extent,
            window.stride[d] * (rows[2 + d] - 1)
            + window.dilation[d] * (window.taps[d] - 1)
            + 1,
        )
        for d, extent in enumerate(shape[1:])
    ]
    total = np.zeros((rows[0], shape[0], *reach))
    for tap in product(*map(range, window.taps)):
        places = tuple(
            slice(
                first,
                first + window.stride[d] * (rows[2 + d] - 1) + 1,
                window.stride[d],
            )
            for d, first in enumerate(np.multiply(window.dilation, tap))
        )
        total[(slice(None), slice(None), *places)] += share(tap)
    valid = tuple(
        slice(before, before + extent)
        for before, extent in zip(window.before, shape[1:], strict=True)
    )
    return total[(slice(None), slice(None), *valid)]
