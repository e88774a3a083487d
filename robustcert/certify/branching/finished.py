"""Leaves with nothing left to split: the net is affine there, a linear program each.

In a leaf that decides every unit, the form is affine, and the leaf is the part of a
cuboid where the units' arguments have the signs that the splits say. The multipliers of
these conditions at the program's optimum are the best prices there are. If no input
satisfies all of them, those of the least violation are, in large numbers: the bound
grows without end. HiGHS only claims its multipliers; ``confirm`` proves what they are
worth.

Reference:
    Wang et al. Beta-CROWN: Efficient Bound Propagation with Per-neuron Split
        Constraints. NeurIPS 2021, section 3.3. (Completeness by linear programs.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.certify.branching.confirm import lower_bounds
from robustcert.certify.branching.program import Bounds, Forms, Leaves, Program
from robustcert.certify.branching.region import Cuboid
from robustcert.certify.milp.highs import Rows, conflict, is_installed, relaxed

_LARGEST = 2**21
"""Numbers in the matrix of all units' arguments at most: moments for one leaf."""

_FACTORS = (1.0, 1e2, 1e4, 1e6)
"""Of the multipliers of a contradiction: the larger, the more rounding they bring."""


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """For R leaves.

    Attributes:
        value: ``(R,)`` float64, proved.
        prices: ``(R, units)`` float64.
        points: ``(R, D)`` float64, inputs where the form is about that low; NaN where
            the leaf seems to hold none.
    """

    value: Tensor
    prices: Tensor
    points: Tensor


def finished(
    program: Program, bounds: Bounds, forms: Forms, leaves: Leaves
) -> Finished | None:
    """The best bounds of leaves in which every unit is decided.

    Args:
        program: float64.
        bounds: proved for its units.
        forms: R of them, float64.
        leaves: R, without open units.

    Returns:
        ``None`` where the region is no cuboid, the program is large, or scipy is not
        installed.
    """
    is_large = program.units * program.region.sizes.numel() > _LARGEST
    if is_large or not isinstance(program.region, Cuboid) or not is_installed():
        return None
    each = [
        _solved(program, bounds, forms.rows(row), leaves.rows(row))
        for row in torch.split(torch.arange(len(forms)), 1)
    ]
    return Finished(
        torch.cat([found.value for found in each]),
        torch.cat([found.prices for found in each]),
        torch.cat([found.points for found in each]),
    )


def _solved(program: Program, bounds: Bounds, form: Forms, leaf: Leaves) -> Finished:
    """Of one leaf."""
    is_split = leaf.splits[0] != 0
    is_on = torch.where(is_split, leaf.splits[0] < 0, bounds.low >= 0.0)
    weights, shifts, cost = _affine(program, form, is_on.to(torch.float64))
    signs = leaf.splits[0][is_split].to(torch.float64)
    low, high = program.region.ends
    rows = Rows(
        signs[:, None] * weights[is_split], -signs * shifts[is_split], low, high
    )
    if not all(part.isfinite().all() for part in (cost, rows.matrix, rows.limits)):
        nowhere = torch.full_like(low, torch.nan)[None]
        return Finished(
            low.new_full((1,), -torch.inf), 0.0 * leaf.prices.double(), nowhere
        )
    answer = relaxed(cost, rows)
    factors = torch.ones(1, dtype=torch.float64)
    multipliers, point = answer.prices, answer.point
    if not len(point):
        factors = torch.tensor(_FACTORS, dtype=torch.float64)
        multipliers, point = conflict(rows), torch.full_like(low, torch.nan)
    prices = leaf.prices.new_zeros(len(factors), len(is_split), dtype=torch.float64)
    prices[:, is_split] = factors[:, None] * multipliers
    tried = Leaves(
        leaf.slopes.expand(len(factors), -1),
        prices,
        leaf.splits.expand(len(factors), -1),
    )
    same = torch.zeros(len(factors), dtype=torch.int64)
    value = lower_bounds(program, bounds, form.rows(same), tried)
    best = value.nan_to_num(nan=-torch.inf).argmax()
    return Finished(value[best][None], prices[best][None], point[None])


def _affine(
    program: Program, form: Forms, is_on: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """All units' arguments and the form, as the input's affine forms.

    Args:
        program: float64.
        form: one.
        is_on: ``(units,)``, 1 for units that output their argument, else 0.

    Returns:
        Weights ``(units, D)`` and shifts ``(units,)`` of the arguments; weights
        ``(D,)`` of the form.
    """
    inputs = program.region.sizes.numel()
    outputs = list[tuple[Tensor, Tensor]]()
    weights, shifts = list[Tensor](), list[Tensor]()
    for stage, on in zip(program.stages, program.parts(is_on), strict=True):
        weight, shift = _substituted(stage.forms, outputs, inputs)
        weights.append(weight)
        shifts.append(shift)
        outputs.append((on[:, None] * weight, on * shift))
    cost, _ = _substituted(form, outputs, inputs)
    return torch.cat(weights), torch.cat(shifts), cost[0]


def _substituted(
    forms: Forms, outputs: list[tuple[Tensor, Tensor]], inputs: int
) -> tuple[Tensor, Tensor]:
    """Forms of the input alone, given those of the stages' outputs."""
    shift = forms.shift
    weight = forms.direct
    if weight is None:
        weight = shift.new_zeros(len(forms), inputs)
    for stage, link in forms.links.items():
        weight = weight + link @ outputs[stage][0]
        shift = shift + link @ outputs[stage][1]
    return weight, shift
