"""Operators that are affine maps: linear, convolution, batch norm, arithmetic."""

from __future__ import annotations

import torch
from torch import Tensor

from robustcert.graph.build import Symbol
from robustcert.graph.layers import Add, Affine, Conv, Linear
from robustcert.graph.torchscript.call import EVAL_REMEDY, Call, ints
from robustcert.graph.torchscript.values import Value, depends_on_input


def linear(call: Call) -> Symbol:
    """``linear(x, weight, bias)``."""
    weight, bias = call.constant(1), call.optional(2)
    return call.add(Linear, call.symbol(), weight=weight, bias=bias)


def addmm(call: Call) -> Symbol:
    """``addmm(bias, x, weight, beta, alpha)``."""
    beta, alpha = (float(value) for value in call.arguments[3:5])
    weight = call.constant(2).T * alpha
    bias = (call.constant(0) * beta).expand(weight.shape[0]).contiguous()
    return call.add(Linear, call.symbol(1), weight=weight, bias=bias)


def matmul(call: Call) -> Symbol:
    """``matmul(x, weight)``."""
    weight = call.constant(1)
    if weight.ndim != 2:
        call.refuse("is no product with a matrix")
    return call.add(Linear, call.symbol(), weight=weight.T.contiguous(), bias=None)


def conv(call: Call) -> Symbol:
    """``conv(x, weight, bias, stride, padding, dilation, groups)``."""
    source, weight = call.symbol(), call.constant(1)
    rank = weight.ndim - 2
    if rank not in (1, 2) or len(source.shape) != rank + 1:
        call.refuse("is no batched 1-D or 2-D convolution")
    dilation = call.ints(5, rank)
    return call.add(
        Conv,
        source,
        weight=weight,
        bias=call.optional(2),
        stride=call.ints(3, rank),
        padding=_padding(call.arguments[4], tuple(weight.shape[2:]), dilation),
        dilation=dilation,
        groups=int(call.arguments[6]),
    )


def general_convolution(call: Call) -> Symbol:
    """``_convolution``, which may be transposed."""
    if call.arguments[6]:
        call.refuse("is a transposed convolution")
    return conv(call.given(*call.arguments[:6], call.arguments[8]))


def batch_norm(call: Call) -> Symbol:
    """Batch norm in eval mode: a scale and a shift for each channel."""
    training = call.arguments[5]
    mean, variance = call.optional(3), call.optional(4)
    if training or mean is None or variance is None:
        call.refuse(
            "is a batch norm in train mode: a sample's output depends on its batch",
            remedy=EVAL_REMEDY,
        )
    weight, bias, source = call.optional(1), call.optional(2), call.symbol()
    scale = (variance + float(call.arguments[7])).rsqrt()
    if weight is not None:
        scale = scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    spatial = (-1,) + (1,) * (len(source.shape) - 1)
    return call.add(
        Affine, source, scale=scale.reshape(spatial), shift=shift.reshape(spatial)
    )


def add(call: Call) -> Symbol:
    """``x + alpha * y``."""
    return _sum(call, call.arguments[0], call.arguments[1], _alpha(call))


def sub(call: Call) -> Symbol:
    """``x - alpha * y``."""
    return _sum(call, call.arguments[0], call.arguments[1], -_alpha(call))


def rsub(call: Call) -> Symbol:
    """``y - alpha * x``."""
    return _sum(call, call.arguments[1], call.arguments[0], -_alpha(call))


def mul(call: Call) -> Symbol:
    """``x * constant``, in either order."""
    first, second = call.arguments[:2]
    if depends_on_input([second]):
        first, second = second, first
    scale = call.as_constant(second)
    return _affine(call.given(first), scale, torch.zeros_like(scale))


def div(call: Call) -> Symbol:
    """``x / constant``."""
    rounding = call.arguments[2:3]
    if rounding and rounding[0] is not None:
        call.refuse(f"divides and rounds ({rounding[0]})")
    return mul(call.given(call.arguments[0], call.constant(1).reciprocal()))


def neg(call: Call) -> Symbol:
    """``-x``."""
    return mul(call.given(call.arguments[0], -1.0))


def _alpha(call: Call) -> float:
    return float(call.arguments[2]) if len(call.arguments) > 2 else 1.0


def _sum(call: Call, first: Value, second: Value, weight: float) -> Symbol:
    """``first + weight * second``, either of which may be a constant."""
    one = torch.ones((), dtype=torch.float64)
    if not depends_on_input([second]):
        return _affine(call.given(first), one, call.as_constant(second) * weight)
    if not depends_on_input([first]):
        return _affine(call.given(second), one * weight, call.as_constant(first))
    both = call.given(first, second)
    sources = both.symbol(0), both.symbol(1)
    if sources[0].shape != sources[1].shape:
        call.refuse("adds tensors of unequal shape")
    return call.add(Add, *sources, weight=weight)


def _affine(call: Call, scale: Tensor, shift: Tensor) -> Symbol:
    source = call.symbol()
    return call.add(
        Affine,
        source,
        scale=_without_batch(call, scale, source),
        shift=_without_batch(call, shift, source),
    )


def _without_batch(call: Call, constant: Tensor, source: Symbol) -> Tensor:
    if constant.ndim == source.example.ndim and constant.shape[0] == 1:
        constant = constant[0]
    try:
        fits = constant.expand(source.shape).shape == source.shape
    except RuntimeError:
        fits = False
    if not fits:
        call.refuse(f"a constant {tuple(constant.shape)} changes the shape")
    return constant


def _padding(
    value: Value, kernel: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    if value == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    if value == "valid":
        return ((0, 0),) * len(kernel)
    return tuple((side, side) for side in ints(value, len(kernel)))
