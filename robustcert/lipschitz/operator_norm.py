"""Upper bounds on the operator norm of one layer, computed in float64, rounded up.

Nothing here rests on power iteration, which approaches a norm from below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.layers import (
    Affine,
    AveragePool,
    Conv,
    Elementwise,
    Gather,
    Layer,
    Linear,
    MaxPool,
    Mean,
    Permute,
    Reshape,
    Shape,
)
from robustcert.lipschitz.convolution_norm import convolution_norm_bound
from robustcert.lipschitz.matrix_norm import FOLDING, matrix_norm_bound
from robustcert.lipschitz.pooling_norm import (
    average_pool_norm_bound,
    max_pool_norm_bound,
    mean_norm_bound,
)
from robustcert.lipschitz.rounding import product_up, root_up
from robustcert.results.norm import Norm


def operator_norm_bound(layer: Layer, input_shape: Shape, norm: Norm) -> float:
    """Upper bound of the Lipschitz constant of a layer with one input.

    For a linear layer this is its operator norm ``max |A x|_p / |x|_p``.

    Args:
        layer: its tensors in float64 on the CPU.
        input_shape: shape of its input, without the batch.
        norm: of inputs and outputs alike.

    Raises:
        UnsupportedLayerError: the layer's kind has no rule.
    """
    rule = _RULES.get(type(layer))
    if rule is None:
        raise UnsupportedLayerError(
            layer.name, f"there is no operator norm of kind {layer.kind}"
        )
    return rule(layer, input_shape, norm)


def _linear(layer: Linear, _: Shape, norm: Norm) -> float:
    return matrix_norm_bound(layer.weight, norm)


def _affine(layer: Affine, input_shape: Shape, _: Norm) -> float:
    if torch.Size(input_shape) != torch.Size(layer.shape):
        raise UnsupportedLayerError(layer.name, "it copies its input to a larger shape")
    largest = float(layer.scale.abs().max())
    return largest if largest in (0.0, 1.0) else product_up(largest, 1.0 + FOLDING)


def _elementwise(layer: Elementwise, _: Shape, __: Norm) -> float:
    low, high = layer.activation.slopes
    return max(abs(low), abs(high))


def _gather(layer: Gather, _: Shape, norm: Norm) -> float:
    """A coordinate that is read n times adds n times its square; the others none."""
    uses = layer.most_uses
    return root_up(uses) if norm is Norm.L2 else float(min(uses, 1))


def _isometry(_: Layer, __: Shape, ___: Norm) -> float:
    return 1.0


_RULES: dict[type[Layer], Callable[[Any, Shape, Norm], float]] = {
    Linear: _linear,
    Conv: convolution_norm_bound,
    Affine: _affine,
    Elementwise: _elementwise,
    AveragePool: average_pool_norm_bound,
    Mean: mean_norm_bound,
    MaxPool: max_pool_norm_bound,
    Reshape: _isometry,
    Permute: _isometry,
    Gather: _gather,
}
