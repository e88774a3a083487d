"""Operators that pool: max, average, adaptive, and means."""

from __future__ import annotations

from robustcert.graph.build import Symbol
from robustcert.graph.layers import AveragePool, MaxPool, Mean
from robustcert.graph.torchscript.call import Call
from robustcert.graph.torchscript.values import Value


def max_pool(call: Call) -> Symbol:
    """``max_pool(x, kernel, stride, padding, dilation, ceil_mode)``."""
    source = call.symbol()
    rank = len(source.shape) - 1
    kernel = call.ints(1, rank)
    return call.add(
        MaxPool,
        source,
        kernel=kernel,
        stride=call.ints(2, rank) if call.arguments[2] else kernel,
        padding=call.ints(3, rank),
        dilation=call.ints(4, rank),
        ceil=bool(call.arguments[5]),
    )


def average_pool(call: Call) -> Symbol:
    """``avg_pool(x, kernel, stride, padding, ceil_mode, count_include_pad, ...)``."""
    source = call.symbol()
    rank = len(source.shape) - 1
    if call.arguments[6:7] not in ((), (None,)):
        call.refuse("overrides its divisor")
    kernel = call.ints(1, rank)
    return call.add(
        AveragePool,
        source,
        kernel=kernel,
        stride=call.ints(2, rank) if call.arguments[2] else kernel,
        padding=call.ints(3, rank),
        ceil=bool(call.arguments[4]),
        count_padding=bool(call.arguments[5]),
    )


def adaptive_average_pool(call: Call) -> Symbol:
    """``adaptive_avg_pool(x, output_size)`` that divides its input evenly."""
    kernel = _even_kernel(call)
    rest = (kernel, kernel, (0,) * len(kernel), False, True)
    return average_pool(call.given(call.arguments[0], *rest))


def adaptive_max_pool(call: Call) -> list[Value]:
    """``adaptive_max_pool(x, output_size)``, which returns indices as well."""
    kernel = _even_kernel(call)
    padding, dilation = (0,) * len(kernel), (1,) * len(kernel)
    rest = (kernel, kernel, padding, dilation, False)
    pooled = max_pool(call.given(call.arguments[0], *rest))
    return [pooled, None]


def mean(call: Call) -> Symbol:
    """``mean(x, dims, keepdim)`` over anything but the batch."""
    source, dims = call.symbol(), call.arguments[1]
    rank = source.example.ndim
    if len(call.arguments) < 4 or dims is None or 0 in [dim % rank for dim in dims]:
        call.refuse("takes the mean over the batch")
    inner = tuple(sorted(dim % rank - 1 for dim in dims))
    return call.add(Mean, source, dims=inner, keep=bool(call.arguments[2]))


def _even_kernel(call: Call) -> tuple[int, ...]:
    """The kernel of an adaptive pool whose windows do not overlap."""
    sizes = call.symbol().shape[1:]
    raw = call.arguments[1]
    wanted = (raw,) if isinstance(raw, int) else tuple(raw)
    wanted = wanted * len(sizes) if len(wanted) == 1 else wanted
    targets = [size if w is None else w for size, w in zip(sizes, wanted, strict=True)]
    if any(size % target for size, target in zip(sizes, targets, strict=True)):
        call.refuse(f"pools {sizes} to {targets}, which does not divide it")
    return tuple(s // t for s, t in zip(sizes, targets, strict=True))
