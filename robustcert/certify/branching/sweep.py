"""The bound of ``confirm`` for searching: any dtype, with its gradient, not rounded.

The bound is piecewise linear in slopes and prices. It is attained by the relaxed net at
one point, so one forward pass of that point gives the gradient: the argument z of each
unit, times the coefficient above it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.certify.branching.program import Bounds, Forms, Leaves, Program


@dataclass(frozen=True, slots=True, eq=False)
class Relaxation:
    """Lines through all units, ``(R, units)`` or ``(1, units)``.

    Attributes:
        is_open: bool.
        on: 1 where the unit outputs its argument, else 0.
        slope: of the line above; ``on`` where the unit is not open.
        offset: of the line above.
    """

    is_open: Tensor
    on: Tensor
    slope: Tensor
    offset: Tensor

    def rows(self, chosen: Tensor) -> Relaxation:
        """The relaxations at positions ``chosen``; one row is shared by all."""
        if len(self.is_open) == 1:
            return self
        return Relaxation(
            self.is_open[chosen],
            self.on[chosen],
            self.slope[chosen],
            self.offset[chosen],
        )


def relaxation(bounds: Bounds, splits: Tensor) -> Relaxation:
    """Lines for bounds ``(units,)`` in the leaves of ``splits`` ``(R, units)``."""
    dtype = bounds.low.dtype
    slope = bounds.high / (bounds.high - bounds.low).clamp(min=1e-30)
    offset = -bounds.low * slope
    free = splits == 0
    is_open = bounds.is_open & free
    on = torch.where(free, bounds.low >= 0.0, splits < 0).to(dtype)
    return Relaxation(
        is_open,
        on,
        torch.where(is_open, slope, on),
        torch.where(is_open, offset, 0.0),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Swept:
    """A bound and what is needed for its gradient.

    Attributes:
        value: ``(R,)`` lower bounds, up to rounding.
        above: ``(R, units)`` coefficients of the units' outputs.
        lower: ``(R, units)`` slopes of the lines below.
        direct: ``(R, D)`` coefficients of the input.
    """

    value: Tensor
    above: Tensor
    lower: Tensor
    direct: Tensor


def swept(program: Program, lines: Relaxation, forms: Forms, leaves: Leaves) -> Swept:
    """Bounds of R forms in R leaves (or one for all)."""
    count = len(forms)
    lower = torch.where(lines.is_open, leaves.slopes, lines.on)
    price = leaves.prices * leaves.splits
    coefficients, above = dict(forms.links), list[Tensor]()
    direct, shift = forms.direct, forms.shift
    slices = program.slices()
    for number in reversed(range(len(program.stages))):
        stage, units = program.stages[number], slices[number]
        found = coefficients.pop(number, None)
        if found is None:
            found = shift.new_zeros(count, len(stage))
        above.append(found)
        positive = found.clamp(min=0.0)
        negative = found - positive
        shift = shift + (negative * lines.offset[:, units]).sum(dim=-1)
        pulled = positive * lower[:, units] + negative * lines.slope[:, units]
        pulled = pulled + price[:, units]
        shift = shift + pulled @ stage.shift
        links, back = stage.pulled(pulled)
        for source, part in links.items():
            known = coefficients.get(source)
            coefficients[source] = part if known is None else known + part
        if back is not None:
            direct = back if direct is None else direct + back
    if direct is None:
        direct = shift.new_zeros(count, program.region.sizes.numel())
    value = shift + program.region.lowest(direct)
    joined = torch.cat(above[::-1], dim=1) if above else shift.new_zeros(count, 0)
    return Swept(value, joined, lower, direct)


def minimisers(
    program: Program, lines: Relaxation, found: Swept
) -> tuple[Tensor, Tensor]:
    """The points ``(R, D)`` that attain the bounds, and the units' arguments there."""
    points = program.region.minimisers(found.direct)
    outputs, arguments = list[Tensor](), list[Tensor]()
    for stage, units in zip(program.stages, program.slices(), strict=True):
        value = stage.values(outputs, points)
        arguments.append(value)
        up = lines.slope[:, units] * value + lines.offset[:, units]
        down = found.lower[:, units] * value
        outputs.append(torch.where(found.above[:, units] > 0.0, down, up))
    joined = torch.cat(arguments, dim=1) if arguments else points[:, :0]
    return points, joined
