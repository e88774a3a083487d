"""A stage from the linear maps behind an activation, its slopes brought to [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from robustcert.graph.layers import Elementwise
from robustcert.lipschitz.lipsdp.frontier import Step
from robustcert.lipschitz.lipsdp.program import Stage

_MOST = 1000  # exponents beyond it leave the range of float64
Slopes = tuple[Tensor, Tensor]


def assembled(
    layer: Elementwise,
    step: Step,
    parts: Mapping[int, Tensor],
    widths: Mapping[int, int],
    slopes: Slopes,
) -> tuple[Stage, int]:
    """The stage of an activation, and the exponent that its maps were scaled by.

    With slopes in [low, high] the output is ``low z + (high - low) v``, v having slopes
    in [0, 1]; the first part joins what is carried on.

    Args:
        layer: the activation.
        step: its step.
        parts: ``(F', A, n', width)``, the next frontier by each layer that is read.
        widths: of the layers in front of the step, and of the activation.
        slopes: smallest and largest, ``(width,)`` each.
    """
    low, high = slopes
    spread = parts.get(step.source, _nothing(parts, widths[step.source]))
    carry = _carry(step, parts, widths)
    begin = sum(widths[i] for i in step.before[: step.before.index(layer.inputs[0])])
    if bool((low != 0.0).any()):
        if carry is None:
            carry = _nothing(parts, sum(widths[i] for i in step.before))
        carry[..., begin : begin + widths[step.source]] += spread * low
    units = (high > low).nonzero()[:, 0]
    if len(units) < len(high):
        spread = spread[..., units]
    spread = spread * (high - low)[units]
    exponent = balancing(spread) if carry is None else balancing(spread, carry)
    factor = math.ldexp(1.0, exponent)
    stage = Stage(
        layer.name,
        units,
        begin + units,
        spread * factor,
        None if carry is None else carry * factor,
    )
    return stage, exponent


def balancing(*maps: Tensor) -> int:
    """The exponent of two that brings the largest row of ``(F', A, n', n)`` to 1.

    Args:
        maps: that stand side by side.
    """
    numbers = [torch.view_as_real(m) if m.is_complex() else m for m in maps]
    largest = max(float(m.abs().max()) if m.numel() else 0.0 for m in numbers)
    if largest == 0.0:
        return 0
    near = _bounded(-math.frexp(largest)[1])  # keeps squares in float64's range
    total = torch.zeros((), dtype=torch.float64)
    for m in numbers:
        squares = (m * math.ldexp(1.0, near)).square().flatten(3)
        total = total + squares.sum(dim=(1, 3))
    return _bounded(near - math.frexp(math.sqrt(float(total.max())))[1])


def _bounded(exponent: int) -> int:
    return min(max(exponent, -_MOST), _MOST)


def _carry(
    step: Step, parts: Mapping[int, Tensor], widths: Mapping[int, int]
) -> Tensor | None:
    """The map of the whole frontier, or ``None`` where nothing is carried on."""
    if not any(position in parts for position in step.before):
        return None
    return torch.cat(
        [parts.get(i, _nothing(parts, widths[i])) for i in step.before], dim=3
    )


def _nothing(parts: Mapping[int, Tensor], width: int) -> Tensor:
    some = next(iter(parts.values()))
    return some.new_zeros(*some.shape[:3], width)
