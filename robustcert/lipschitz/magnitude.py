"""Linear layers with absolute values in them: what rounding errors are measured by."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from robustcert.graph.layers import (
    Add,
    Affine,
    AveragePool,
    Conv,
    Gather,
    Layer,
    Linear,
    Mean,
    Shape,
)


def magnitude(layer: Layer) -> Layer:
    """The linear layer with every number in it replaced by its absolute value.

    Where the layer maps x to ``A x + b``, the result maps it to ``|A| x + |b|``.
    """
    match layer:
        case Linear() | Conv():
            changes: dict[str, Any] = {
                "weight": layer.weight.abs(),
                "bias": None if layer.bias is None else layer.bias.abs(),
            }
        case Affine():
            changes = {"scale": layer.scale.abs(), "shift": layer.shift.abs()}
        case Add():
            changes = {"weight": abs(layer.weight)}
        case _:
            return layer
    return replace(layer, **changes)


def terms(layer: Layer, input_shape: Shape) -> int:
    """Number of roundings on the way to one output coordinate of a linear layer.

    Of a :class:`Gather`, which rounds nothing, those on the way back.
    """
    match layer:
        case Linear():
            return int(layer.weight.shape[1]) + 2
        case Conv():
            return int(layer.weight[0].numel()) + 2
        case AveragePool():
            return torch.Size(layer.kernel).numel() + 2
        case Mean():
            return torch.Size([input_shape[dim] for dim in layer.dims]).numel() + 2
        case Affine() | Add():
            return 4
        case Gather():
            return layer.most_uses
        case _:
            return 0


def finite_layer(layer: Layer) -> bool:
    """Whether no number in the layer is NaN or infinite."""
    values = (getattr(layer, field.name) for field in fields(layer))
    return all(
        bool(torch.isfinite(value).all())
        for value in values
        if isinstance(value, Tensor)
    )
