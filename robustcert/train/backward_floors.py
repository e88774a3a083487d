"""CROWN's lower bounds of margins, differentiated by the weights.

A linear bound of ``f_y - f_k`` is carried from the logits back to the input; at each
rectifier a line below or above takes its place, found from the interval before it.
Nothing is rounded outwards: a net is trained with these, and certified with
:mod:`robustcert.certify.crown`.

References:
    Zhang, Weng, Chen, Hsieh, Daniel. Efficient Neural Network Robustness Certification
        with General Activation Functions. NeurIPS 2018. (CROWN, adaptive slopes.)
    Zhang et al. Towards Stable and Efficient Training of Verifiably Robust Neural
        Networks. ICLR 2020, section 3.2. (With interval bounds inside.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.activations import ActivationKind
from robustcert.graph.execute import apply
from robustcert.graph.layers import (
    LINEAR_KINDS,
    Elementwise,
    Layer,
    LayerGraph,
    Shape,
)
from robustcert.graph.transpose import pulled_back
from robustcert.train.intervals import Span

_NARROW = 1e-12
"""Widths are not divided by below this; chords there are as good as flat."""


def backward_margin_floors(
    graph: LayerGraph, spans: Sequence[Span], labels: Tensor
) -> Tensor:
    """Lower bounds ``(N, K)`` of ``f_y - f_k``; 0 at the label.

    Args:
        graph: linear layers and rectifiers, one after the other.
        spans: of its layers but the last; the first is the input's.
        labels: ``(N,)``.

    Raises:
        UnsupportedLayerError: a layer has no rule.
    """
    form = _Form(_label_minus_others(graph.outputs, labels, spans[0].centre), 0.0)
    for position in reversed(range(1, len(graph.layers))):
        layer, source = graph.layers[position], graph.layers[position - 1].shape
        if isinstance(layer, Elementwise):
            form = _through_rectifier(layer, form, spans[position - 1])
        elif isinstance(layer, LINEAR_KINDS) and layer.inputs == (position - 1,):
            form = _through_linear(layer, form, source)
        else:
            raise UnsupportedLayerError(
                layer.name, f"{layer.kind} has no rule for backward bounds in training"
            )
    return _lowest(form, spans[0])


@dataclass(frozen=True, slots=True, eq=False)
class _Form:
    """``<coefficients, z> + constant``, below each of K margins of N samples.

    Attributes:
        coefficients: ``(N, K, *shape)``.
        constant: ``(N, K)``.
    """

    coefficients: Tensor
    constant: Tensor | float

    def at(self, values: Tensor) -> Tensor:
        """``(N, K)`` inner products with ``(N or 1, 1, *shape)`` values."""
        return (self.coefficients * values).flatten(2).sum(dim=2)


def _label_minus_others(classes: int, labels: Tensor, like: Tensor) -> Tensor:
    units = torch.eye(classes, dtype=like.dtype, device=like.device)
    return units[labels][:, None] - units


def _through_linear(layer: Layer, form: _Form, source: Shape) -> _Form:
    zeros = form.coefficients.new_zeros(1, *source)
    constant = form.constant + form.at(apply(layer, [zeros])[:, None])
    flat = form.coefficients.flatten(0, 1)
    (pulled,) = pulled_back(layer, flat, [source])
    return _Form(pulled.reshape(*form.coefficients.shape[:2], *source), constant)


def _through_rectifier(layer: Elementwise, form: _Form, source: Span) -> _Form:
    """Positive coefficients take the line below, negative ones the chord above."""
    leak = _leak(layer)
    low, high = source.low, source.high
    bottom, top = layer.activation(low), layer.activation(high)
    width = (high - low).clamp(min=_NARROW)
    chord = (top - bottom) / width
    above = torch.where(low >= 0.0, 1.0, torch.where(high <= 0.0, leak, chord))
    shift = bottom - above * low
    below = torch.where(low >= 0.0, 1.0, torch.where(high > -low, 1.0, leak))
    positive = form.coefficients.clamp(min=0.0)
    negative = form.coefficients.clamp(max=0.0)
    constant = form.constant + (negative * shift[:, None]).flatten(2).sum(dim=2)
    return _Form(positive * below[:, None] + negative * above[:, None], constant)


def _leak(layer: Elementwise) -> float:
    """The slope below 0.

    Raises:
        UnsupportedLayerError: the activation is no rectifier.
    """
    activation = layer.activation
    if activation.kind is ActivationKind.RELU:
        return 0.0
    if activation.kind is ActivationKind.LEAKY_RELU and activation.parameters[0] <= 1:
        return activation.parameters[0]
    raise UnsupportedLayerError(
        layer.name,
        f"{activation.kind.value} has no rule for backward bounds in training",
    )


def _lowest(form: _Form, start: Span) -> Tensor:
    magnitudes = _Form(form.coefficients.abs(), 0.0)
    nearest = form.at(start.centre[:, None]) + form.constant
    return nearest - magnitudes.at(start.radius[:, None])
