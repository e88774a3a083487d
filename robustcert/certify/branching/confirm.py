r"""Lower bounds from multipliers, in float64, rounded down. Nothing is searched here.

A form ``a . v + d . x + c`` of rectified units ``v = max(z, 0)`` is bounded stage by
stage, from the last one to the input. With low <= z <= high, open units lie above
``slope z`` for any slope in [0, 1] and below ``high (z - low) / (high - low)``; a unit
that is on outputs z, one that is off 0. In a leaf where z <= 0 (or z >= 0) any
``price >= 0`` times z (or -z) may be added, as it is never positive there. So every
choice of slopes and prices gives a lower bound: a wrong one is only loose.

Rounding. Every float coefficient stands for itself; what replaces a unit by its form
``z = W v + e x + b`` errs by at most ``gamma(n)`` times the coefficient's size times
the form with absolute values everywhere (``Forms.sizes``), n the roundings on the way:
those of computing W from the graph and those of the product. The lines' slopes and
offsets are rounded up. The sum of all is subtracted four times, which covers its own
rounding and those of the last sums.

References:
    Zhang et al. Efficient Neural Network Robustness Certification with General
        Activation Functions. NeurIPS 2018. (CROWN.)
    Wang et al. Beta-CROWN: Efficient Bound Propagation with Per-neuron Split
        Constraints. NeurIPS 2021, Theorem 3.1.
    Higham. Accuracy and Stability of Numerical Algorithms. 2002, section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.certify.branching.program import Bounds, Forms, Leaves, Program
from robustcert.lipschitz.rounding import gamma

_CHUNK = 2**19
"""Numbers in one tensor of coefficients at most: what a cache holds."""

_ABOVE = 1.0 + 2.0**-50
_UNDERFLOW = 1e-200


def lower_bounds(
    program: Program, bounds: Bounds, forms: Forms, leaves: Leaves
) -> Tensor:
    """What R forms are at least, each on the part of the region its leaf stands for.

    Args:
        program: float64; forms may read all of its stages.
        bounds: proved for its units.
        forms: R of them, float64.
        leaves: R of them, or one row for all, in any dtype.

    Returns:
        ``(R,)`` float64; NaN or minus infinity where nothing is proved.
    """
    widest = max([1, *(len(stage) for stage in program.stages)])
    if forms.direct is not None:
        widest = max(widest, forms.direct.shape[1])
    step = max(1, _CHUNK // widest)
    if len(forms) <= step:
        return _lower_bounds(program, bounds, forms, leaves)
    parts = [
        _lower_bounds(program, bounds, forms.rows(rows), _of_rows(leaves, rows))
        for rows in torch.split(torch.arange(len(forms)), step)
    ]
    return torch.cat(parts)


def interval_bounds(program: Program, bounds: Bounds, forms: Forms) -> Tensor:
    """What R forms are at least, each unit and the input being free in its bounds.

    Cheap, and better than :func:`lower_bounds` behind a stage of few units.

    Args:
        program: float64; forms may read all of its stages.
        bounds: proved for its units.
        forms: R of them, float64.

    Returns:
        ``(R,)`` float64.
    """
    value, slices = forms.shift, program.slices()
    for stage, weight in forms.links.items():
        known = bounds.of(slices[stage])
        lowest, highest = known.low.clamp(min=0.0), known.high.clamp(min=0.0)
        positive = weight.clamp(min=0.0)
        value = value + positive @ lowest + (weight - positive) @ highest
    if forms.direct is not None:
        value = value + program.region.lowest(forms.direct)
    return value - (4.0 * gamma(program.roundings) * forms.sizes + _UNDERFLOW)


def _of_rows(leaves: Leaves, rows: Tensor) -> Leaves:
    return Leaves(
        *(
            part if len(part) == 1 else part[rows]
            for part in (leaves.slopes, leaves.prices, leaves.splits)
        )
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Lines:
    """Lines through the units of one stage; offset and slope are rounded up."""

    is_open: Tensor
    is_on: Tensor
    slope: Tensor
    offset: Tensor


def _lines(bounds: Bounds, splits: Tensor) -> _Lines:
    is_open = bounds.is_open & (splits == 0)
    is_on = torch.where(splits == 0, bounds.low >= 0.0, splits < 0)
    steep = bounds.high / (bounds.high - bounds.low) * _ABOVE
    slope = torch.where(is_open, steep, is_on.to(steep))
    offset = torch.where(is_open, -bounds.low * steep * _ABOVE, 0.0)
    return _Lines(is_open, is_on, slope, offset)


def _lower_bounds(
    program: Program, bounds: Bounds, forms: Forms, leaves: Leaves
) -> Tensor:
    coefficients = dict(forms.links)
    direct, shift, blur = forms.direct, forms.shift, forms.sizes
    for number in reversed(range(len(program.stages))):
        above = coefficients.pop(number, None)
        if above is None:
            continue
        stage, units = program.stages[number], program.slices()[number]
        pulled, fall = _through_units(above, bounds.of(units), leaves.columns(units))
        shift = shift + fall + pulled @ stage.shift
        blur = blur + pulled.abs() @ stage.sizes
        links, back = stage.pulled(pulled)
        for source, part in links.items():
            known = coefficients.get(source)
            coefficients[source] = part if known is None else known + part
        if back is not None:
            direct = back if direct is None else direct + back
    value = shift if direct is None else shift + program.region.lowest(direct)
    return value - (4.0 * gamma(program.roundings) * blur + _UNDERFLOW)


def _through_units(
    above: Tensor, bounds: Bounds, leaves: Leaves
) -> tuple[Tensor, Tensor]:
    """Coefficients ``(R, n)`` of the units' arguments, and what the offsets cost."""
    lines = _lines(bounds, leaves.splits)
    below = leaves.slopes.to(torch.float64).clamp(0.0, 1.0)
    price = leaves.prices.to(torch.float64).clamp(min=0.0) * leaves.splits
    positive, negative = above.clamp(min=0.0), above.clamp(max=0.0)
    lower = torch.where(lines.is_open, below, lines.is_on.to(below))
    pulled = positive * lower + negative * lines.slope + price
    return pulled, (negative * lines.offset).sum(dim=-1)
