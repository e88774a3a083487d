"""Linear layers applied backwards: from coefficients of outputs to those of inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.grad import conv1d_input, conv2d_input

from robustcert.graph.execute import apply_linear
from robustcert.graph.layers import Conv, Layer, Linear, Shape


def pulled_back(
    layer: Layer, coefficients: Tensor, sources: Sequence[Shape]
) -> tuple[Tensor, ...]:
    """The layer's transpose, applied to R coefficient tensors at once.

    Args:
        layer: of a linear kind; its shift plays no part.
        coefficients: ``(R, *layer.shape)``.
        sources: shapes of the layer's inputs.

    Returns:
        For each input a tensor ``(R, *source)``.
    """
    match layer:
        case Linear():
            return (coefficients @ layer.weight,)
        case Conv():
            return (_through_conv(layer, coefficients, sources[0]),)
        case _:
            return _by_gradient(layer, coefficients, sources)


def _through_conv(layer: Conv, coefficients: Tensor, source: Shape) -> Tensor:
    sizes = [
        before + size + after
        for size, (before, after) in zip(source[1:], layer.padding, strict=True)
    ]
    pull: Callable[..., Tensor] = (
        conv1d_input if layer.weight.ndim == 3 else conv2d_input
    )
    padded = pull(
        [len(coefficients), source[0], *sizes],
        layer.weight,
        coefficients,
        layer.stride,
        0,
        layer.dilation,
        layer.groups,
    )
    for dim, (before, _) in enumerate(layer.padding):
        padded = padded.narrow(dim + 2, before, source[dim + 1])
    return padded


def _by_gradient(
    layer: Layer, coefficients: Tensor, sources: Sequence[Shape]
) -> tuple[Tensor, ...]:
    with torch.enable_grad():
        leaves = [
            coefficients.new_zeros(len(coefficients), *source).requires_grad_()
            for source in sources
        ]
        values = apply_linear(layer, leaves)
        gradients = torch.autograd.grad(
            values, leaves, coefficients, create_graph=coefficients.requires_grad
        )
    return tuple(gradients)
