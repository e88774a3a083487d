"""Linear forms of a layer, rewritten backwards as linear forms of the input.

A lower bound of ``a . z`` is carried towards the input: affine layers are replaced by
what they compute, activations by the line below where the coefficient is positive and
by the line above where it is negative. Rows may belong to different samples.

Reference:
    Zhang et al. Efficient Neural Network Robustness Certification with General
        Activation Functions. NeurIPS 2018. (CROWN.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustcert.certify.crown.balls import Balls, least_step
from robustcert.certify.crown.forms import Forms, Relaxed
from robustcert.certify.crown.patches import (
    Patch,
    Rows,
    dense,
    dots,
    flat,
    inside,
    joined,
    keeps_windows,
    seen_by,
    smaller_form,
    through_conv,
    values_of,
    with_values,
)
from robustcert.certify.crown.pooling import Choice, through_choice
from robustcert.certify.crown.relaxation import Lines
from robustcert.certify.crown.transpose import whole_rows_back
from robustcert.errors import UnsupportedLayerError
from robustcert.graph.execute import apply
from robustcert.graph.layers import (
    LINEAR_KINDS,
    Add,
    Affine,
    Conv,
    Elementwise,
    Input,
    Layer,
    Linear,
)
from robustcert.results.norm import Norm

_STEP_OUTWARD = 1.0 + 2.0**-50


def least_values(relaxed: Relaxed, forms: Forms) -> Tensor:
    """Lower bounds ``(R,)`` of the forms over their balls, rounding not considered.

    The coefficients are used up; missing slopes are added to ``forms.slopes``.

    Raises:
        UnsupportedLayerError: a layer has no rule.
    """
    rows = input_rows(relaxed, forms)
    if rows is None:
        return forms.shift
    return forms.shift + _over_balls(relaxed.balls, rows, forms.samples)


def input_rows(relaxed: Relaxed, forms: Forms) -> Rows | None:
    """The forms' coefficients of the input; ``None`` where it plays no part.

    Raises:
        UnsupportedLayerError: a layer has no rule.
    """
    for position in range(max(forms.coefficients), 0, -1):
        if position in forms.coefficients:
            _substitute(relaxed, position, forms)
    return forms.coefficients.pop(0, None)


def _substitute(relaxed: Relaxed, position: int, forms: Forms) -> None:
    """Replace a layer in the forms by its inputs."""
    layer = relaxed.graph.layers[position]
    rows = forms.coefficients.pop(position)
    if isinstance(layer, LINEAR_KINDS):
        _through_linear(relaxed, layer, rows, forms)
        return
    (source,) = layer.inputs
    shape = relaxed.graph.layers[source].shape
    match relaxed.lines.get(position):
        case Lines() as lines:
            back = _through_lines(lines, position, rows, forms)
        case Choice() as found:
            whole = dense(rows, layer.shape)
            back, shift = through_choice(whole, found, forms.samples, shape)
            forms.shift = forms.shift + shift
        case None:
            raise UnsupportedLayerError(
                layer.name, f"{layer.kind} has no linear bounds"
            )
    _join(relaxed, source, back, forms)


def _through_linear(relaxed: Relaxed, layer: Layer, rows: Rows, forms: Forms) -> None:
    shapes = [relaxed.graph.layers[source].shape for source in layer.inputs]
    forms.shift = forms.shift + _constant_part(layer, rows, relaxed)
    pulled: tuple[Rows, ...]
    match layer, rows:
        case Conv(), Patch() if keeps_windows(layer):
            pulled = (_through_windows(relaxed, layer, rows),)
        case Affine(), Patch() if shapes[0] == layer.shape:
            pulled = (with_values(rows, rows.values * _seen(layer.scale, layer, rows)),)
        case Add(), Patch() if shapes[0] == shapes[1]:
            pulled = (rows, with_values(rows, rows.values * layer.weight))
        case _:
            pulled = whole_rows_back(layer, dense(rows, layer.shape), shapes)
    for source, back in zip(layer.inputs, pulled, strict=True):
        _join(relaxed, source, back, forms)


def _through_windows(relaxed: Relaxed, layer: Conv, rows: Patch) -> Rows:
    source = relaxed.graph.layers[layer.inputs[0]]
    moved = through_conv(layer, rows)
    if not isinstance(source, Elementwise | Input):
        moved = inside(moved, source.shape)  # the others see nothing outside
    return smaller_form(moved, source.shape)


def _constant_part(layer: Layer, rows: Rows, relaxed: Relaxed) -> Tensor:
    """``(R,)``: the rows times the layer's value at 0."""
    values = values_of(rows)
    match layer:
        case Linear(bias=None) | Conv(bias=None):
            return values.new_zeros(len(values))
        case Conv(bias=Tensor() as bias):
            return values.flatten(2).sum(dim=2) @ bias
        case Linear() | Affine():
            zeros = [
                values.new_zeros(1, *relaxed.graph.layers[i].shape)
                for i in layer.inputs
            ]
            constant = apply(layer, zeros)
            nobody = torch.zeros(len(values), dtype=torch.int64, device=values.device)
            return dots(rows, constant, nobody)
        case _:
            return values.new_zeros(len(values))


def _seen(numbers: Tensor, layer: Layer, rows: Rows) -> Tensor:
    """Numbers that broadcast to the layer's output, laid out like the rows."""
    if not isinstance(rows, Patch):
        return numbers
    if numbers.ndim == 0 or numbers.shape[-2:] == (1, 1):
        return numbers
    nobody = torch.zeros(
        len(rows.corners), dtype=torch.int64, device=rows.corners.device
    )
    return seen_by(rows, numbers.expand(1, *layer.shape), nobody)


def _through_lines(lines: Lines, position: int, rows: Rows, forms: Forms) -> Rows:
    def seen(facts: Tensor) -> Tensor:
        return seen_by(rows, facts, forms.samples)

    values, below = values_of(rows), seen(lines.below_slope)
    falling = with_values(rows, values.clamp(max=0.0))
    forms.shift = forms.shift + dots(falling, lines.above_shift, forms.samples)
    if lines.freedom is None:
        rising = with_values(rows, values.clamp(min=0.0))
        forms.shift = forms.shift + dots(rising, lines.below_shift, forms.samples)
    elif forms.slopes is not None:  # the line below goes through the kink at 0
        chosen = forms.slopes.setdefault(position, below)
        least, most = (seen(end) for end in lines.freedom)
        below = torch.where(least < most, chosen.clamp(least, most), below)
    slopes = torch.where(values > 0.0, below, seen(lines.above_slope))
    return with_values(rows, values * slopes)


def _join(relaxed: Relaxed, source: int, back: Rows, forms: Forms) -> None:
    """Add coefficients to those that other readers of the layer have left there."""
    if source in forms.coefficients:
        shape = relaxed.graph.layers[source].shape
        back = smaller_form(joined(forms.coefficients[source], back, shape), shape)
    forms.coefficients[source] = back


def _over_balls(balls: Balls, rows: Rows, samples: Tensor) -> Tensor:
    """Least value ``(R,)`` of ``row . x`` over each row's ball."""

    def seen(facts: Tensor) -> Tensor:
        return flat(seen_by(rows, facts, samples))

    ends = balls.interval
    if balls.norm is Norm.LINF:
        middles = ends.low / 2.0 + ends.high / 2.0
        reach = torch.maximum(ends.high - middles, middles - ends.low) * _STEP_OUTWARD
        sizes = with_values(rows, values_of(rows).abs())
        return dots(rows, middles, samples) - dots(sizes, reach, samples)
    values, at_centre = flat(values_of(rows)), dots(rows, balls.centres, samples)
    falls = (ends.low - balls.centres) * _STEP_OUTWARD
    rises = (ends.high - balls.centres) * _STEP_OUTWARD
    radii = balls.radii[samples]
    return at_centre + least_step(values, seen(falls), seen(rises), radii)
