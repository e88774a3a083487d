"""Operators that are affine maps: products, convolution, batch norm, arithmetic."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from robustcert.graph.build import Symbol
from robustcert.graph.layers import Add, Affine, Conv, Linear, Permute
from robustcert.graph.onnx.call import EVAL_REMEDY, Call
from robustcert.graph.onnx.products import product, shifted_error
from robustcert.graph.onnx.values import ErrorTerm
from robustcert.graph.onnx.windows import padding, spatial_rank, window


def gemm(call: Call) -> Symbol:
    """``alpha * x @ B + beta * C``, B and C being constants."""
    source = call.symbol()
    weight = call.constant(1) * call.number("alpha", 1.0)
    if call.integer("transA", 0) or len(source.shape) != 1 or weight.ndim != 2:
        call.refuse("is no product of a row with a matrix")
    if not call.integer("transB", 0):
        weight = weight.T
    bias = call.optional(2)
    if bias is not None:
        row = bias[0] if bias.ndim == 2 and len(bias) == 1 else bias
        if row.ndim > 1 or row.numel() not in (1, len(weight)):
            call.refuse(f"adds a constant of shape {tuple(bias.shape)}")
        bias = (row * call.number("beta", 1.0)).expand(len(weight)).contiguous()
    return call.add(Linear, source, weight=weight.contiguous(), bias=bias)


def matmul(call: Call) -> Symbol:
    """``x @ W`` or ``W @ x``, W being a constant matrix."""
    if isinstance(call.value(0), np.ndarray):
        return _matrix_first(call)
    source, weight = call.symbol(), _matrix(call, 1)
    return call.add(Linear, source, weight=weight.T.contiguous(), bias=None)


def conv(call: Call) -> Symbol:
    """``Conv(x, W, B)`` in one or two dimensions."""
    source, weight = call.symbol(), call.constant(1)
    rank = spatial_rank(call, source)
    kernel = tuple(weight.shape[2:])
    if weight.ndim != rank + 2 or call.integers("kernel_shape", kernel) != kernel:
        call.refuse(f"has a kernel of shape {tuple(weight.shape)}")
    view = window(call, kernel)
    return call.add(
        Conv,
        source,
        weight=weight,
        bias=call.optional(2),
        stride=view.stride,
        padding=padding(call, source, view),
        dilation=view.dilation,
        groups=call.integer("group", 1),
    )


def batch_norm(call: Call) -> Symbol:
    """Batch norm in eval mode: a scale and a shift for each channel."""
    if call.integer("training_mode", 0) or any(call.node.outputs[1:]):
        call.refuse(
            "is a batch norm in train mode: a sample's output depends on its batch",
            remedy=EVAL_REMEDY,
        )
    if not call.integer("spatial", 1):
        call.refuse("is a batch norm that is not by channel")
    source = call.symbol()
    weight, bias, mean, variance = (call.constant(place) for place in range(1, 5))
    scale = weight * (variance + call.number("epsilon", 1e-5)).rsqrt()
    shift = bias - mean * scale
    channels = (-1,) + (1,) * (len(source.shape) - 1)
    return call.add(
        Affine, source, scale=scale.reshape(channels), shift=shift.reshape(channels)
    )


def add(call: Call) -> Symbol | ErrorTerm:
    """``x + y``."""
    return _sum(call, 1.0)


def sub(call: Call) -> Symbol | ErrorTerm:
    """``x - y``."""
    return _sum(call, -1.0)


def mul(call: Call) -> Symbol | ErrorTerm:
    """``x * y``: a constant, or two tensors whose product is an activation."""
    first, second = call.value(0), call.value(1)
    if isinstance(second, np.ndarray):
        return product(call, 0, _without_batch(call, 1, 0))
    if isinstance(first, np.ndarray):
        return product(call, 1, _without_batch(call, 0, 1))
    return product(call, 0, None)


def div(call: Call) -> Symbol | ErrorTerm:
    """``x / constant``."""
    return product(call, 0, _without_batch(call, 1, 0).reciprocal())


def neg(call: Call) -> Symbol | ErrorTerm:
    """``-x``."""
    return product(call, 0, -torch.ones((), dtype=torch.float64))


def _sum(call: Call, weight: float) -> Symbol | ErrorTerm:
    """``first + weight * second``, either of which may be a constant."""
    first, second = call.value(0), call.value(1)
    one = torch.ones((), dtype=torch.float64)
    if isinstance(second, np.ndarray):
        if isinstance(first, ErrorTerm):
            return shifted_error(call, first, call.constant(1) * weight)
        shift = _without_batch(call, 1, 0) * weight
        return call.add(Affine, call.symbol(0), scale=one, shift=shift)
    if isinstance(first, np.ndarray):
        if isinstance(second, ErrorTerm) and weight == 1.0:
            return shifted_error(call, second, call.constant(0))
        shift = _without_batch(call, 0, 1)
        return call.add(Affine, call.symbol(1), scale=one * weight, shift=shift)
    sources = call.symbol(0), call.symbol(1)
    if sources[0].shape != sources[1].shape:
        call.refuse("adds tensors of unequal shape")
    return call.add(Add, *sources, weight=weight)


def _without_batch(call: Call, position: int, other: int) -> Tensor:
    """A constant that fits one sample of the other argument."""
    constant = call.constant(position)
    target = call.value(other)
    if not isinstance(target, Symbol):
        if constant.numel() != 1:
            call.refuse("multiplies by a constant that is no number")
        return constant.reshape(())
    if constant.ndim == target.example.ndim:
        if constant.shape[0] != 1:
            call.refuse("has a constant that differs from sample to sample")
        constant = constant[0]
    try:
        fits = constant.expand(target.shape).shape == target.shape
    except RuntimeError:
        fits = False
    if not fits:
        call.refuse(f"a constant {tuple(constant.shape)} changes the shape")
    return constant


def _matrix(call: Call, position: int) -> Tensor:
    weight = call.constant(position)
    while weight.ndim > 2 and weight.shape[0] == 1:
        weight = weight[0]
    if weight.ndim != 2:
        call.refuse("is no product with a matrix")
    return weight


def _matrix_first(call: Call) -> Symbol:
    """``W @ x = (x' W')'`` for columns x ``(in, columns)``."""
    source, weight = call.symbol(1), _matrix(call, 0)
    if len(source.shape) != 2:
        call.refuse("is no product of a matrix with columns")
    if source.shape[1] == 1:
        row = call.reshaped(source, (call.batch, source.shape[0]))
        found = call.add(Linear, row, weight=weight, bias=None)
        return call.reshaped(found, (call.batch, *found.shape, 1))
    rows = call.add(Permute, source, order=(1, 0))
    found = call.add(Linear, rows, weight=weight, bias=None)
    return call.add(Permute, found, order=(1, 0))
