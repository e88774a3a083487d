"""Kernels, strides and padding of convolutions and pools."""

from __future__ import annotations

from dataclasses import dataclass

from robustcert.graph.build import Symbol
from robustcert.graph.onnx.call import Call

Sides = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Window:
    """What slides over an image, one number a spatial dimension."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]


def spatial_rank(call: Call, source: Symbol) -> int:
    """Number of spatial dimensions of ``(N, channels, *spatial)``: 1 or 2."""
    rank = len(source.shape) - 1
    if rank not in (1, 2):
        call.refuse(f"works on {rank} spatial dimensions, not on 1 or 2")
    return rank


def window(call: Call, kernel: tuple[int, ...]) -> Window:
    """The call's window with this kernel."""
    ones = (1,) * len(kernel)
    stride, dilation = call.integers("strides", ones), call.integers("dilations", ones)
    if min(*kernel, *stride, *dilation) < 1:
        call.refuse("has a kernel, stride or dilation below 1")
    return Window(kernel, stride, dilation)


def padding(call: Call, source: Symbol, view: Window) -> Sides:
    """What is padded (before, after) in each spatial dimension.

    ``auto_pad`` SAME gives ``ceil(size / stride)`` windows; SAME_UPPER puts the odd
    row behind, SAME_LOWER in front.
    """
    rank = len(view.kernel)
    mode = call.text("auto_pad", "NOTSET")
    if mode == "NOTSET":
        pads = call.integers("pads", (0,) * (2 * rank))
        if min(pads) < 0:
            call.refuse("has negative padding")
        return tuple(zip(pads[:rank], pads[rank:], strict=True))
    if mode == "VALID":
        return ((0, 0),) * rank
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        call.refuse(f"has the unknown padding {mode!r}")
    return tuple(
        _same(size, kernel, stride, dilation, lower=mode == "SAME_LOWER")
        for size, kernel, stride, dilation in zip(
            source.shape[1:], view.kernel, view.stride, view.dilation, strict=True
        )
    )


def even_padding(call: Call, sides: Sides) -> tuple[int, ...]:
    """Padding that is the same in front and behind.

    Raises:
        UnsupportedLayerError: it is not.
    """
    if any(before != after for before, after in sides):
        call.refuse("pools with more padding on one side than on the other")
    return tuple(before for before, _ in sides)


def _same(
    size: int, kernel: int, stride: int, dilation: int, *, lower: bool
) -> tuple[int, int]:
    reach = (-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1
    total = max(0, reach - size)
    small, large = total // 2, total - total // 2
    return (large, small) if lower else (small, large)
