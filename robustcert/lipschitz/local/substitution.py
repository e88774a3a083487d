"""Backward substitution: a layer's coordinates bounded by linear forms of the input.

A form ``sum_j a_j . z_j + shift`` of layers j bounds what is asked from above; the last
layer in it is replaced by its own inputs, exactly where it is linear, by a line where
it is an activation, until only the input is left. Every float form stands for itself:
what rounding moves on the way is bounded by the layers' largest values, and added.

Reference:
    Zhang et al. Efficient Neural Network Robustness Certification with General
        Activation Functions. NeurIPS 2018. (CROWN.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.graph.execute import apply
from robustcert.graph.layers import (
    LINEAR_KINDS,
    Conv,
    Elementwise,
    Layer,
    LayerGraph,
    Linear,
)
from robustcert.graph.transpose import pulled_back
from robustcert.lipschitz.local.intervals import Interval
from robustcert.lipschitz.local.region import Region
from robustcert.lipschitz.local.relaxation import Lines
from robustcert.lipschitz.magnitude import magnitude, terms
from robustcert.lipschitz.rounding import UNIT, gamma

_CHUNK = 2**23  # numbers a layer may hold for one batch of rows


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known of the layers in front of the one that is asked about.

    Attributes:
        graph: float64.
        region: where the input lies.
        bounds: of every layer's output so far.
        lines: of the activations so far, by position.
    """

    graph: LayerGraph
    region: Region
    bounds: Sequence[Interval]
    lines: Mapping[int, Lines]


@dataclass(slots=True, eq=False)
class _Forms:
    """R forms: coefficients ``(R, *shape)`` by layer, shifts and errors ``(R,)``."""

    coefficients: dict[int, Tensor]
    shift: Tensor
    error: Tensor


def unit_bounds(known: Known, target: int, units: Tensor) -> Interval:
    """Bounds ``(U,)`` of some coordinates of a layer over the region.

    Args:
        known: about every layer in front of ``target``.
        target: the layer's position.
        units: ``(U,)`` positions in the layer's flattened output.
    """
    widest = max(layer.size for layer in known.graph.layers[: target + 1])
    parts = [
        _unit_bounds(known, target, chunk)
        for chunk in torch.split(units, max(1, _CHUNK // (2 * widest)))
    ]
    return Interval(
        torch.cat([part.low for part in parts]),
        torch.cat([part.high for part in parts]),
    )


def _unit_bounds(known: Known, target: int, units: Tensor) -> Interval:
    rows = torch.zeros(len(units), known.graph.layers[target].size, dtype=torch.float64)
    rows[torch.arange(len(units)), units] = 1.0
    highs, negated = _upper_ends(known, target, torch.cat([rows, -rows])).chunk(2)
    return Interval(-negated, highs)


def _upper_ends(known: Known, target: int, rows: Tensor) -> Tensor:
    """Upper bounds ``(R,)`` of ``row . z`` over the region, z the layer's output."""
    shape = known.graph.layers[target].shape
    zeros = torch.zeros(len(rows), dtype=torch.float64)
    forms = _Forms({target: rows.reshape(-1, *shape)}, zeros, zeros.clone())
    for position in range(target, 0, -1):
        if position in forms.coefficients:
            _substitute(known, position, forms)
    return _over_region(known.region, forms)


def _substitute(known: Known, position: int, forms: _Forms) -> None:
    """Replace a layer in the forms by its inputs."""
    layer = known.graph.layers[position]
    coefficients = forms.coefficients.pop(position)
    if isinstance(layer, LINEAR_KINDS):
        _through_linear(known, layer, coefficients, forms)
    elif isinstance(layer, Elementwise):
        _through_activation(known, position, coefficients, forms)
    else:
        bounds = known.bounds[position]
        _add_extreme(coefficients, bounds.low, bounds.high, forms)


def _through_linear(
    known: Known, layer: Layer, coefficients: Tensor, forms: _Forms
) -> None:
    sources = [known.graph.layers[source] for source in layer.inputs]
    zeros = [torch.zeros(1, *s.shape, dtype=torch.float64) for s in sources]
    _add(forms, _dot(coefficients, apply(layer, zeros)))
    sizes = apply(magnitude(layer), [known.bounds[i].size for i in layer.inputs])
    roundings = layer.size + _terms_back(layer, sources[0])
    _blur(forms, coefficients, sizes, roundings)
    pulled = pulled_back(layer, coefficients, [source.shape for source in sources])
    for source, back in zip(layer.inputs, pulled, strict=True):
        _join(known, source, back, forms)


def _through_activation(
    known: Known, position: int, coefficients: Tensor, forms: _Forms
) -> None:
    lines = known.lines[position]
    (source,) = known.graph.layers[position].inputs
    _add_extreme(coefficients, lines.below_shift, lines.above_shift, forms)
    steepest = torch.maximum(lines.below_slope.abs(), lines.above_slope.abs())
    _blur(forms, coefficients, steepest * known.bounds[source].size, 8)
    back = (
        coefficients.clamp(min=0.0) * lines.above_slope
        + coefficients.clamp(max=0.0) * lines.below_slope
    )
    _join(known, source, back, forms)


def _add_extreme(
    coefficients: Tensor, low: Tensor, high: Tensor, forms: _Forms
) -> None:
    """Add the largest ``coefficients . z`` for z between ``low`` and ``high``."""
    _add(forms, _dot(coefficients.clamp(min=0.0), high))
    _add(forms, _dot(coefficients.clamp(max=0.0), low))
    sizes = torch.maximum(low.abs(), high.abs())
    _blur(forms, coefficients, sizes, coefficients[0].numel())


def _join(known: Known, source: int, back: Tensor, forms: _Forms) -> None:
    """Add coefficients to those that other readers of the layer have left there."""
    if source in forms.coefficients:
        back = forms.coefficients[source] + back
        _blur(forms, back, known.bounds[source].size, 1)
    forms.coefficients[source] = back


def _add(forms: _Forms, shift: Tensor) -> None:
    forms.shift = forms.shift + shift
    forms.error = forms.error + 2.0 * UNIT * forms.shift.abs()


def _blur(forms: _Forms, coefficients: Tensor, sizes: Tensor, roundings: int) -> None:
    """Account for a relative error of ``roundings`` roundings in products with z."""
    share = gamma(2 * (roundings + coefficients[0].numel()) + 16)
    forms.error = forms.error + share * _dot(coefficients.abs(), sizes)


def _dot(coefficients: Tensor, values: Tensor) -> Tensor:
    """``(R,)``: of coefficients ``(R, *shape)`` with values that broadcast to them."""
    whole = values.expand(1, *coefficients.shape[1:]).flatten()
    return coefficients.flatten(1) @ whole


def _over_region(region: Region, forms: _Forms) -> Tensor:
    """The largest value of each form over the region, rounded up."""
    total, error = forms.shift, forms.error
    if 0 in forms.coefficients:
        rows = forms.coefficients[0].flatten(1)
        centre = region.centre.flatten()
        at_centre, reach = rows @ centre, region.reach(rows)
        share = gamma(2 * rows.shape[1] + 16)
        error = error + share * (rows.abs() @ centre.abs() + reach)
        total = total + at_centre + reach
        error = error + 8.0 * UNIT * (at_centre.abs() + reach + forms.shift.abs())
    return total + 2.0 * error + 8.0 * UNIT * total.abs()  # the error was rounded too


def _terms_back(layer: Layer, source: Layer) -> int:
    """Number of roundings on the way to one coefficient of the layer's input."""
    if isinstance(layer, Linear | Conv):
        return layer.weight.numel() // layer.weight.shape[1] + 4
    return terms(layer, source.shape) + 4
