"""Coefficients that are zero outside a window of an image.

A unit of a convolution sees a window of the layer in front, so the coefficients of its
linear form fill a window too, which grows from layer to layer. Windows of all rows have
one size and each its own place; whatever sticks out of the image is zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from robustcert.graph.layers import Conv, Shape

_FEW = 24  # samples


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """R windows.

    Attributes:
        values: ``(R, C, h, w)``; what is outside the image does not count.
        corners: ``(R, 2)`` int64, where ``values[..., 0, 0]`` is in the image; every
            window overlaps the image.
    """

    values: Tensor
    corners: Tensor

    @property
    def extent(self) -> tuple[int, int]:
        """Height and width of the windows."""
        return self.values.shape[2], self.values.shape[3]


Rows = Tensor | Patch
"""Coefficients of R forms for one layer's output: ``(R, *shape)`` or windows of it."""


def values_of(rows: Rows) -> Tensor:
    """What is stored, ``(R, ...)``; the rest is zero."""
    return rows.values if isinstance(rows, Patch) else rows


def with_values(rows: Rows, values: Tensor) -> Rows:
    """Other coefficients in the same place."""
    return Patch(values, rows.corners) if isinstance(rows, Patch) else values


def seen_by(rows: Rows, facts: Tensor, samples: Tensor) -> Tensor:
    """Facts about the layer's units, laid out like the rows' values.

    Args:
        rows: of R forms.
        facts: ``(N, *shape)``.
        samples: ``(R,)`` whose facts a row needs.

    Returns:
        ``(R, ...)``; 0 (or ``False``) outside the image.
    """
    if facts.ndim != 4:
        return facts[samples]
    if not isinstance(rows, Patch):
        return facts.permute(0, 2, 3, 1)[samples].permute(0, 3, 1, 2)
    first, last = int(samples.min()), int(samples.max())
    (high, wide), near = rows.extent, facts[first : last + 1]
    padded = F.pad(near.permute(0, 2, 3, 1), (0, 0, wide, wide, high, high))
    views = padded.unfold(1, high, 1).unfold(2, wide, 1).permute(0, 1, 2, 4, 5, 3)
    place = rows.corners + rows.corners.new_tensor([high, wide])
    # Channels come last, where the values of a convolution have them, too.
    return views[samples - first, place[:, 0], place[:, 1]].permute(0, 3, 1, 2)


def flat(values: Tensor) -> Tensor:
    """``(R, n)`` of rows or what they see: in memory, channels come last."""
    channels_last = values.permute(0, 2, 3, 1) if values.ndim == 4 else values
    return channels_last.flatten(1)


def dots(rows: Rows, facts: Tensor, samples: Tensor) -> Tensor:
    """``(R,)``: each row times the facts ``(N, *shape)`` about its sample."""
    values = flat(values_of(rows))
    present, place = torch.unique(samples, return_inverse=True)
    if isinstance(rows, Patch) or len(present) > _FEW:
        seen = flat(seen_by(rows, facts, samples))
        return torch.bmm(values[:, None], seen[:, :, None]).flatten()
    # Some columns too many cost less than a copy of the facts for every row.
    columns = values @ flat(facts[present]).T
    return columns.gather(1, place[:, None])[:, 0]


def dense(rows: Rows, shape: Shape) -> Tensor:
    """``(R, *shape)``."""
    if not isinstance(rows, Patch):
        return rows
    (high, wide), count = rows.extent, len(rows.values)
    canvas = rows.values.new_zeros(
        count, shape[0], shape[1] + 2 * high, shape[2] + 2 * wide
    )
    views = canvas.unfold(2, high, 1).unfold(3, wide, 1)
    place = rows.corners + rows.corners.new_tensor([high, wide])
    every = torch.arange(count, device=place.device)
    views[every, :, place[:, 0], place[:, 1]] = rows.values
    return canvas[:, :, high : high + shape[1], wide : wide + shape[2]]


def smaller_form(rows: Rows, shape: Shape) -> Rows:
    """Dense rows where windows are not smaller."""
    if isinstance(rows, Patch) and _area(rows.extent) >= _area(shape[1:]):
        return dense(rows, shape)
    return rows


def joined(first: Rows, second: Rows, shape: Shape) -> Rows:
    """The sum of two forms' coefficients for one layer."""
    if isinstance(first, Patch) and isinstance(second, Patch):
        shifts = second.corners - first.corners
        if bool((shifts == shifts[:1]).all()):
            return _overlaid(first, second, shifts[0].tolist())
    return dense(first, shape) + dense(second, shape)


def through_conv(layer: Conv, rows: Patch) -> Patch:
    """Coefficients of a two-dimensional convolution's input, from its output's.

    Windows that stick out of the image are not zero there: see :func:`inside`.
    """
    # In float64 the channels-last layout takes half the time of the other.
    values = F.conv_transpose2d(
        rows.values.contiguous(memory_format=torch.channels_last),
        layer.weight,
        stride=layer.stride,
        groups=layer.groups,
        dilation=layer.dilation,
    )
    strides = rows.corners.new_tensor(layer.stride)
    before = rows.corners.new_tensor([pair[0] for pair in layer.padding])
    return Patch(values, rows.corners * strides - before)


def through_whole_conv(layer: Conv, rows: Tensor, source: Shape) -> Tensor:
    """The same for dense rows ``(R, *out)``; gives ``(R, *source)``."""
    values = F.conv_transpose2d(
        rows.contiguous(memory_format=torch.channels_last),
        layer.weight,
        stride=layer.stride,
        groups=layer.groups,
        dilation=layer.dilation,
    )
    # Negative padding crops what was padding, positive one adds what no window reads.
    (top, _), (left, _) = layer.padding
    below = source[1] + top - values.shape[2]
    right = source[2] + left - values.shape[3]
    return F.pad(values, (-left, right, -top, below))


def keeps_windows(layer: Conv) -> bool:
    """Whether the layer turns windows into windows that overlap the image."""
    reach = [
        step * (size - 1)
        for step, size in zip(layer.dilation, layer.weight.shape[2:], strict=True)
    ]
    return layer.weight.ndim == 4 and all(
        max(pair) <= most for pair, most in zip(layer.padding, reach, strict=True)
    )


def inside(rows: Patch, shape: Shape) -> Patch:
    """The same with zeros outside the image."""
    masks = []
    for axis, extent in enumerate(rows.extent):
        place = rows.corners[:, axis, None] + torch.arange(
            extent, device=rows.corners.device
        )
        masks.append((place >= 0) & (place < shape[1 + axis]))
    mask = masks[0][:, None, :, None] & masks[1][:, None, None, :]
    if bool(mask.all()):
        return rows
    return Patch(rows.values * mask, rows.corners)


def _overlaid(first: Patch, second: Patch, shift: list[int]) -> Patch:
    """Two windows, the second ``shift`` behind the first, in their common frame."""
    starts = [min(0, by) for by in shift]
    ends = [
        max(one, by + other)
        for one, other, by in zip(first.extent, second.extent, shift, strict=True)
    ]
    frame = first.values.new_zeros(
        *first.values.shape[:2], ends[0] - starts[0], ends[1] - starts[1]
    )
    for values, place in ((first.values, (0, 0)), (second.values, tuple(shift))):
        top, left = place[0] - starts[0], place[1] - starts[1]
        frame[:, :, top : top + values.shape[2], left : left + values.shape[3]] += (
            values
        )
    return Patch(frame, first.corners + first.corners.new_tensor(starts))


def _area(extent: tuple[int, ...]) -> int:
    return torch.Size(extent).numel()
