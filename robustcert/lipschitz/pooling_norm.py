"""Upper bounds on the norm of pooling layers."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d

from robustcert.graph.layers import AveragePool, MaxPool, Mean, Shape
from robustcert.lipschitz.matrix_norm import matrix_norm_bound
from robustcert.lipschitz.rounding import product_up, root_up, up
from robustcert.results.norm import Norm


def average_pool_norm_bound(
    layer: AveragePool, input_shape: Shape, norm: Norm
) -> float:
    """Upper bound of the norm, exact up to rounding.

    The divisor of a window is the product of its extents, so the matrix is a Kronecker
    product of one matrix a dimension, and its norm the product of their norms.
    """
    bound = 1.0
    for dim in range(len(layer.kernel)):
        matrix = _average_matrix(layer, dim, input_shape[-len(layer.kernel) + dim])
        bound = product_up(bound, matrix_norm_bound(matrix, norm))
    return bound


def mean_norm_bound(layer: Mean, input_shape: Shape, norm: Norm) -> float:
    """Norm of a mean of n numbers: 1 / sqrt(n) in L2, 1 in L-infinity; rounded up."""
    if norm is Norm.LINF:
        return 1.0
    count = math.prod(input_shape[dim] for dim in layer.dims)
    return 1.0 if count == 1 else up(1.0 / math.sqrt(count))


def max_pool_norm_bound(layer: MaxPool, input_shape: Shape, norm: Norm) -> float:
    """Lipschitz constant of max pooling, rounded up.

    A maximum moves no further than the window's farthest coordinate: 1 in
    L-infinity; in L2 the root of the number of windows that share a coordinate.
    """
    if norm is Norm.LINF:
        return 1.0
    spatial = input_shape[-len(layer.kernel) :]
    shared = math.prod(
        _windows_sharing(layer, dim, extent) for dim, extent in enumerate(spatial)
    )
    return root_up(max(shared, 1))


def _average_matrix(layer: AveragePool, dim: int, extent: int) -> Tensor:
    """The pooling's matrix ``(outputs, inputs)`` along one dimension."""
    basis = torch.eye(extent, dtype=torch.float64)[:, None, :]
    columns = avg_pool1d(
        basis,
        layer.kernel[dim],
        layer.stride[dim],
        layer.padding[dim],
        layer.ceil,
        layer.count_padding,
    )
    return columns[:, 0, :].T


def _windows_sharing(layer: MaxPool, dim: int, extent: int) -> int:
    """Largest number of windows along ``dim`` that hold the same coordinate."""
    outputs = layer.shape[len(layer.shape) - len(layer.kernel) + dim]
    starts = torch.arange(outputs) * layer.stride[dim] - layer.padding[dim]
    reads = starts[:, None] + torch.arange(layer.kernel[dim]) * layer.dilation[dim]
    inside = reads[(reads >= 0) & (reads < extent)]
    return int(torch.bincount(inside, minlength=1).max())
