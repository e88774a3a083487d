"""Linear layers applied backwards to dense rows, differentiably."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from robustcert.certify.crown.patches import through_whole_conv
from robustcert.graph.execute import apply_linear
from robustcert.graph.layers import (
    Add,
    Affine,
    Concat,
    Conv,
    Layer,
    Linear,
    Permute,
    Reshape,
    Shape,
)
from robustcert.graph.transpose import pulled_back


def whole_rows_back(
    layer: Layer, rows: Tensor, sources: Sequence[Shape]
) -> tuple[Tensor, ...]:
    """The layer's transpose, applied to ``(R, *layer.shape)``.

    As :func:`~robustcert.graph.transpose.pulled_back`; the result has a gradient by the
    rows.

    Args:
        layer: of a linear kind.
        rows: coefficients of the layer's output.
        sources: shapes of the layer's inputs.

    Returns:
        For each input a tensor ``(R, *source)``.
    """
    match layer:
        case Conv() if layer.weight.ndim == 4:
            return (through_whole_conv(layer, rows, sources[0]),)
        case Linear() | Conv():
            return pulled_back(layer, rows, sources)
        case Reshape():
            return (rows.reshape(-1, *sources[0]),)
        case Permute():
            back = torch.tensor(layer.order).argsort().tolist()
            return (rows.permute(0, *(dim + 1 for dim in back)),)
        case Concat():
            sizes = [shape[layer.dim] for shape in sources]
            return tuple(torch.split(rows, sizes, dim=layer.dim + 1))
        case Add() if sources[0] == sources[1]:
            return rows, rows * layer.weight
        case Affine() if sources[0] == layer.shape:
            return (rows * layer.scale,)
        case _:
            return _by_gradient(layer, rows, sources)


def _by_gradient(
    layer: Layer, rows: Tensor, sources: Sequence[Shape]
) -> tuple[Tensor, ...]:
    differentiable = torch.is_grad_enabled() and rows.requires_grad
    with torch.enable_grad():
        leaves = [
            rows.new_zeros(len(rows), *source).requires_grad_() for source in sources
        ]
        values = apply_linear(layer, leaves)
        gradients = torch.autograd.grad(
            values, leaves, rows, create_graph=differentiable
        )
    return tuple(gradients)
