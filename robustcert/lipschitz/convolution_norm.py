"""Upper bounds on the norm of a convolution with its real padding, stride and size.

The singular values of the kernel reshaped to a matrix are *not* an upper bound: a
kernel of k x k ones has norm up to k^2, its reshaped matrix has norm k.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import torch
from torch import Tensor

from robustcert.graph.execute import apply_linear
from robustcert.graph.layers import Conv, Shape
from robustcert.lipschitz.eigenvalue_ceiling import exact_tops
from robustcert.lipschitz.magnitude import magnitude
from robustcert.lipschitz.matrix_norm import (
    FOLDING,
    Gram,
    frobenius_bound,
    gram_norm_bounds,
    power_below,
    rounded_sum,
    spectral_norm_bound,
)
from robustcert.lipschitz.rounding import UNIT, product_up, sum_up, up
from robustcert.results.norm import Norm

UNROLLED_SIDE = 1600
"""Short side up to which a matrix is written out and bounded exactly."""
UNROLLED_ENTRIES = 2**23
"""Entries up to which a matrix is written out."""
_CHUNK = 2**21  # complex numbers held at a time


def convolution_norm_bound(layer: Conv, input_shape: Shape, norm: Norm) -> float:
    """Upper bound of the operator norm of ``layer`` on inputs of ``input_shape``.

    L-infinity is exact up to rounding. L2 is exact up to rounding where the matrix is
    small, otherwise the smaller of the circular bound (:func:`torus_norm_bound`) and
    ``sqrt(|A|_1 |A|_inf)``.

    Args:
        layer: float64 weights.
        input_shape: ``(channels, *spatial)``, without the batch.
        norm: of inputs and outputs alike.
    """
    rows, columns = absolute_sums(layer, input_shape)
    if norm is Norm.LINF:
        return rows
    if is_small(layer.size, _size(input_shape), layer.groups):
        return _unrolled_norm_bound(layer, input_shape)
    schur = up(math.sqrt(product_up(rows, columns)))
    return min(schur, torus_norm_bound(layer, input_shape))


def is_small(rows: int, columns: int, blocks: int = 1) -> bool:
    """Whether a matrix of this size, of equal diagonal blocks, is written out."""
    short = min(rows, columns) // blocks
    return short <= UNROLLED_SIDE and rows * columns // blocks <= UNROLLED_ENTRIES


def absolute_sums(layer: Conv, input_shape: Shape) -> tuple[float, float]:
    """Largest absolute row sum and column sum of the matrix, rounded up."""
    whole = magnitude(layer)
    ones = torch.ones(1, *input_shape, dtype=layer.weight.dtype)
    with torch.enable_grad():
        ones.requires_grad_()
        rows = apply_linear(whole, [ones])
        (columns,) = torch.autograd.grad(rows.sum(), ones)
    taps = layer.weight[0, 0].numel()
    return (
        rounded_sum(float(rows.detach().max()), layer.weight[0].numel()),
        rounded_sum(float(columns.max()), taps * layer.weight.shape[0]),
    )


def unrolled_blocks(layer: Conv, input_shape: Shape) -> Tensor:
    """The matrix, one diagonal block a group: ``(groups, outputs, inputs)`` of each.

    Every entry is one weight or 0, placed there without arithmetic.
    """
    groups, taps = layer.groups, layer.weight[0, 0].numel()
    kernel = layer.weight.reshape(groups, -1, layer.weight.shape[1], taps)
    outputs, inputs = math.prod(layer.shape[1:]), math.prod(input_shape[1:])
    matrix = kernel.new_zeros(outputs, inputs, *kernel.shape[:3])
    for tap, (reader, read) in enumerate(_places_read(layer, input_shape)):
        matrix[reader, read] = kernel[..., tap]
    return matrix.permute(2, 3, 0, 4, 1).reshape(groups, -1, kernel.shape[2] * inputs)


def _places_read(layer: Conv, input_shape: Shape) -> Iterator[tuple[Tensor, Tensor]]:
    """For each tap: output positions, and the input positions that they read."""
    extents = layer.weight.shape[2:]
    for tap in product(*map(range, extents)):
        readers = torch.zeros(1, dtype=torch.long)
        reads, inside = torch.zeros_like(readers), torch.ones(1, dtype=torch.bool)
        for dim, offset in enumerate(tap):
            size, extent = layer.shape[1 + dim], input_shape[1 + dim]
            place = torch.arange(size)
            read = place * layer.stride[dim] + offset * layer.dilation[dim]
            read = read - layer.padding[dim][0]
            kept = (read >= 0) & (read < extent)
            readers = (readers[:, None] * size + place).flatten()
            reads = (reads[:, None] * extent + read).flatten()
            inside = (inside[:, None] & kept).flatten()
        yield readers[inside], reads[inside]


def _unrolled_norm_bound(layer: Conv, input_shape: Shape) -> float:
    """Exact up to rounding.

    A wide matrix A is multiplied with its transpose by convolving its rows, which
    skips the zeros.
    """
    blocks = unrolled_blocks(layer, input_shape)
    scale = power_below(blocks)
    if scale == 0.0 or layer.groups > 1 or layer.size > blocks.shape[2]:
        return spectral_norm_bound(blocks)
    unit = replace(layer, weight=layer.weight / scale)
    rows = (blocks[0] / scale).reshape(-1, *input_shape)
    gram = apply_linear(unit, [rows]).reshape(1, layer.size, layer.size)
    length = layer.weight[0].numel()
    (bound,) = gram_norm_bounds([Gram(gram, length, scale)], exact_tops)
    return sum_up(bound, product_up(FOLDING, frobenius_bound(blocks)))


def torus_norm_bound(layer: Conv, input_shape: Shape) -> float:
    """Upper bound of the spectral norm: that of a circular convolution.

    The convolution with zero padding is a part of the circular one on a torus that
    holds the input and the longer padding, hence has no larger norm. The circular one
    is block-diagonal in frequency: with stride s along each of D dimensions the block
    at a coarse frequency is ``s^(-D/2) [W^(f_1) ... W^(f_a)]`` over its ``a = s^D``
    aliases. The Fourier sums are taken directly, so their rounding error is known:
    at most ``2 (taps + 64) u |sum_t |W[t]||_F``.

    Reference:
        Sedghi, Gupta, Long. The Singular Values of Convolutional Layers. ICLR 2019.
    """
    sizes = torus_sizes(layer, input_shape)
    taps = layer.weight[0, 0].numel()
    coarse = _coarse_frequencies(sizes, layer.stride)
    aliases = math.prod(layer.stride)
    block = layer.weight[0].numel() // taps * layer.weight.shape[0] * aliases
    bound = 0.0
    for part in torch.split(coarse, max(1, _CHUNK // block)):
        bound = spectral_norm_bound(_symbol_blocks(layer, sizes, part), bound)
    sums = frobenius_bound(layer.weight.abs().flatten(2).sum(dim=2))
    error = product_up(2.0 * (taps + 64) * UNIT + FOLDING, sums)
    return sum_up(bound, error)


def torus_sizes(layer: Conv, input_shape: Shape) -> Shape:
    """Smallest torus, a multiple of the stride, on which nothing wraps into the input.

    Both paddings of a dimension share one strip of zeros.
    """
    return tuple(
        _torus_size(layer, dim, extent) for dim, extent in enumerate(input_shape[1:])
    )


def _torus_size(layer: Conv, dim: int, extent: int) -> int:
    stride, (before, _) = layer.stride[dim], layer.padding[dim]
    last_window = stride * (layer.shape[1 + dim] - 1)
    reach = layer.dilation[dim] * (layer.weight.shape[2 + dim] - 1) - before
    needed = max(extent + before, last_window + reach + 1, last_window + 1, extent)
    return -(-needed // stride) * stride


def _coarse_frequencies(sizes: Shape, stride: Shape) -> Tensor:
    """Frequencies ``(F, D)`` of the strided torus; real kernels need half of them."""
    counts = [size // step for size, step in zip(sizes, stride, strict=True)]
    counts[-1] = counts[-1] // 2 + 1
    return torch.cartesian_prod(*map(torch.arange, counts)).reshape(-1, len(counts))


def _symbol_blocks(layer: Conv, sizes: Shape, coarse: Tensor) -> Tensor:
    """Blocks ``(F * groups, out / groups, in / groups * aliases)`` at ``coarse``."""
    groups = layer.groups
    kernel = layer.weight.flatten(2).permute(2, 0, 1)  # (taps, out, in / groups)
    shifts = product(*map(range, layer.stride))
    spacing = torch.tensor([n // s for n, s in zip(sizes, layer.stride, strict=True)])
    symbols = [
        _symbols(layer, sizes, coarse + torch.tensor(shift) * spacing, kernel)
        for shift in shifts
    ]
    stacked = torch.cat(symbols, dim=2) / math.sqrt(math.prod(layer.stride))
    return stacked.reshape(len(coarse) * groups, -1, stacked.shape[2])


def _symbols(layer: Conv, sizes: Shape, frequencies: Tensor, kernel: Tensor) -> Tensor:
    """Fourier sums ``(F, out, in / groups)`` of the kernel at ``frequencies``.

    The phase of the padding is left out: it turns whole columns and no norm.
    """
    phases = torch.ones(len(frequencies), 1, dtype=torch.complex128)
    for dim, size in enumerate(sizes):
        taps = torch.arange(layer.weight.shape[2 + dim]) * layer.dilation[dim]
        turns = (frequencies[:, dim : dim + 1] * taps) % size
        angles = turns.to(torch.float64) * (2.0 * math.pi / size)
        waves = torch.polar(torch.ones_like(angles), angles)
        phases = (phases[:, :, None] * waves[:, None, :]).flatten(1)
    flat = kernel.flatten(1)
    sums = torch.complex(phases.real @ flat, phases.imag @ flat)
    return sums.reshape(len(frequencies), *kernel.shape[1:])


def _size(shape: Shape) -> int:
    return torch.Size(shape).numel()
