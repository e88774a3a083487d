"""Linear layers applied backwards: from coefficients of outputs to those of inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.grad import conv1d_input, conv2d_input

from robustcert.graph.execute import apply_linear
from robustcert.graph.layers import Conv, Gather, Layer, Linear, Shape


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
        case Gather():
            return (_through_gather(layer, coefficients, sources[0]),)
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


def _through_gather(layer: Gather, coefficients: Tensor, source: Shape) -> Tensor:
    """Each coefficient is added to that of the coordinate that was read."""
    places = layer.places.flatten()
    read = places >= 0
    rows = coefficients.flatten(1)[:, read]
    whole = coefficients.new_zeros(len(rows), torch.Size(source).numel())
    return whole.index_add(1, places[read], rows).reshape(-1, *source)


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
