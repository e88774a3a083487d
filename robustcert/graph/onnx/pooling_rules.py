"""Operators that pool: max, average, global, and means."""

from __future__ import annotations

from robustcert.graph.build import Symbol
from robustcert.graph.layers import AveragePool, MaxPool, Mean
from robustcert.graph.onnx.call import BATCH_REMEDY, Call
from robustcert.graph.onnx.windows import even_padding, padding, spatial_rank, window


def max_pool(call: Call) -> Symbol:
    """``MaxPool(x)``; its second output, the indices, stands for nothing."""
    source = call.symbol()
    view = window(
        call, call.integers("kernel_shape", (1,) * spatial_rank(call, source))
    )
    return call.add(
        MaxPool,
        source,
        kernel=view.kernel,
        stride=view.stride,
        padding=even_padding(call, padding(call, source, view)),
        dilation=view.dilation,
        ceil=bool(call.integer("ceil_mode", 0)),
    )


def average_pool(call: Call) -> Symbol:
    """``AveragePool(x)``; padding counts where ``count_include_pad`` says so."""
    source = call.symbol()
    view = window(
        call, call.integers("kernel_shape", (1,) * spatial_rank(call, source))
    )
    if max(view.dilation) > 1:
        call.refuse("is an average pool with gaps")
    return call.add(
        AveragePool,
        source,
        kernel=view.kernel,
        stride=view.stride,
        padding=even_padding(call, padding(call, source, view)),
        ceil=bool(call.integer("ceil_mode", 0)),
        count_padding=bool(call.integer("count_include_pad", 0)),
    )


def global_average_pool(call: Call) -> Symbol:
    """The mean over all spatial dimensions."""
    source = call.symbol()
    return call.add(Mean, source, dims=tuple(range(1, len(source.shape))), keep=True)


def global_max_pool(call: Call) -> Symbol:
    """The maximum over all spatial dimensions."""
    source = call.symbol()
    kernel = tuple(source.shape[1:])
    rank = spatial_rank(call, source)
    return call.add(
        MaxPool,
        source,
        kernel=kernel,
        stride=kernel,
        padding=(0,) * rank,
        dilation=(1,) * rank,
        ceil=False,
    )


def reduce_mean(call: Call) -> Symbol:
    """The mean over anything but the batch."""
    source, axes = call.symbol(), call.axes(1)
    rank = len(source.shape) + 1
    if not axes:
        if call.integer("noop_with_empty_axes", 0):
            return source
        axes = list(range(rank))
    dims = sorted({axis % rank for axis in axes})
    if 0 in dims:
        call.refuse("takes the mean over the batch", remedy=BATCH_REMEDY)
    keep = bool(call.integer("keepdims", 1))
    return call.add(Mean, source, dims=tuple(dim - 1 for dim in dims), keep=keep)
