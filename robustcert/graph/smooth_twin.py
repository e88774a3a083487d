"""A graph's smooth twin: every kink rounded off, so that its Jacobian has a gradient.

The Jacobian of a piecewise linear net is constant around almost every point, so its
norm cannot be climbed. The twin's can; it tends to the net as the sharpness grows.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from robustcert.graph.activations import ActivationKind
from robustcert.graph.execute import apply, values
from robustcert.graph.layers import Elementwise, Layer, LayerGraph, MaxPool
from robustcert.graph.piecewise import pieces_of

_FAR_BELOW = -1e30  # what padding counts as under a maximum


@dataclass(frozen=True, slots=True, eq=False)
class SmoothTwin:
    """The graph and, for each layer with kinks, the typical size of what it reads.

    Sizes make one sharpness mean the same in every layer, however its units are scaled.
    """

    graph: LayerGraph
    sizes: dict[int, float]

    def outputs(self, inputs: Tensor, sharpness: float) -> Tensor:
        """Logits ``(N, K)`` with ReLU(z) rounded to ``softplus(beta z) / beta``.

        ``beta`` is the sharpness over the layer's typical size; the other kinks follow.

        Args:
            inputs: ``(N, *shape)`` in the dtype of the graph.
            sharpness: > 0; at 40 a kink is felt within a fortieth of the typical size.
        """
        found: list[Tensor] = [inputs]
        for position, layer in enumerate(self.graph.layers[1:], start=1):
            arguments = [found[source] for source in layer.inputs]
            if position in self.sizes:
                beta = sharpness / self.sizes[position]
                found.append(_rounded(layer, arguments[0], beta))
            else:
                found.append(apply(layer, arguments))
        return found[-1]


def smooth_twin(graph: LayerGraph, inputs: Tensor) -> SmoothTwin:
    """The twin of ``graph``; sizes are root mean squares over ``inputs``."""
    with torch.no_grad():
        found = values(graph, inputs)
    sizes = {
        position: float(found[layer.inputs[0]].square().mean().sqrt()) or 1.0
        for position, layer in enumerate(graph.layers)
        if has_kinks(layer)
    }
    return SmoothTwin(graph, sizes)


def has_kinks(layer: Layer) -> bool:
    """Whether the twin has another rule for the layer."""
    if isinstance(layer, Elementwise):
        return layer.activation.kind in _ROUNDED
    return isinstance(layer, MaxPool)


def _rounded(layer: Layer, argument: Tensor, beta: float) -> Tensor:
    if isinstance(layer, MaxPool):
        return _soft_max_pool(layer, argument, beta)
    if isinstance(layer, Elementwise):
        activation = layer.activation
        return _ROUNDED[activation.kind](argument, beta, *activation.parameters)
    return apply(layer, [argument])


def _relu(values: Tensor, beta: float) -> Tensor:
    return F.softplus(values, beta=beta)


def _leaky_relu(values: Tensor, beta: float, slope: float) -> Tensor:
    return slope * values + (1.0 - slope) * _relu(values, beta)


def _clamp(values: Tensor, beta: float, low: float, high: float) -> Tensor:
    """Either end may be infinite."""
    return values + _relu(low - values, beta) - _relu(values - high, beta)


def _hardsigmoid(values: Tensor, beta: float) -> Tensor:
    return _clamp(values, beta, -3.0, 3.0) / 6.0 + 0.5


def _hardswish(values: Tensor, beta: float) -> Tensor:
    return values * _hardsigmoid(values, beta)


def _spline(values: Tensor, beta: float, *parameters: float) -> Tensor:
    """The first piece, and a rounded kink at each knot."""
    pieces = pieces_of(parameters)
    found = pieces.values[0] + pieces.slopes[0] * (values - pieces.knots[0])
    rises = [after - before for before, after in itertools.pairwise(pieces.slopes)]
    for knot, rise in zip(pieces.knots, rises, strict=True):
        found = found + rise * _relu(values - knot, beta)
    return found


_ROUNDED: dict[ActivationKind, Callable[..., Tensor]] = {
    ActivationKind.RELU: _relu,
    ActivationKind.LEAKY_RELU: _leaky_relu,
    ActivationKind.CLAMP: _clamp,
    ActivationKind.HARDSIGMOID: _hardsigmoid,
    ActivationKind.HARDSWISH: _hardswish,
    ActivationKind.SPLINE: _spline,
}


def _soft_max_pool(layer: MaxPool, batch: Tensor, beta: float) -> Tensor:
    """``log(sum(exp(beta z))) / beta`` over each window.

    ``(N, C, *spatial)`` to ``(N, *layer.shape)``; sequences are images of height 1.
    """
    flat = len(layer.kernel) == 1
    kernel, stride, padding, dilation, out = (
        (blank, *given) if flat else given
        for blank, given in (
            (1, layer.kernel),
            (1, layer.stride),
            (0, layer.padding),
            (1, layer.dilation),
            (1, layer.shape[1:]),
        )
    )
    images = batch[:, :, None] if flat else batch
    ends = [
        (before, max(0, (o - 1) * s + d * (k - 1) + 1 - extent - before))
        for extent, o, k, s, before, d in zip(
            images.shape[2:], out, kernel, stride, padding, dilation, strict=True
        )
    ]
    sides = [side for pair in ends[::-1] for side in pair]
    padded = F.pad(images, sides, value=_FAR_BELOW)
    count, channels = padded.shape[:2]
    windows = F.unfold(padded, kernel, dilation=dilation, stride=stride)
    windows = windows.reshape(count, channels, kernel[0] * kernel[1], -1)
    pooled = torch.logsumexp(beta * windows, dim=2) / beta
    width = padded.shape[3]
    across = (width - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    images = pooled.reshape(count, channels, -1, across)[:, :, : out[0], : out[1]]
    return images.reshape(count, *layer.shape)
