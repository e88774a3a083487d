"""Which unit to split in each leaf.

A few candidates are taken by two scores; of these the one is split whose two children
have the best worse bound, with the leaf's multipliers as they are.

References:
    Bunel et al. Branch and Bound for Piecewise Linear Neural Network Verification.
        JMLR 2020 (BaBSR: the first score).
    De Palma et al. Improved Branch and Bound for Neural Network Verification via
        Lagrangian Decomposition. 2021 (FSB: candidates are tried).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.certify.branching.program import Bounds, Forms, Leaves, Program
from robustcert.certify.branching.sweep import (
    Relaxation,
    Swept,
    minimisers,
    relaxation,
    swept,
)

_LOWER_SHARE = 0.3
"""What the line below counts, against the one above, in the first score."""

_BETTER_SHARE = 0.1
"""What the better child's bound counts, against the worse one's."""


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """For B leaves.

    Attributes:
        unit: ``(B,)`` the unit to split.
        found: ``(B,)`` bool: false where no unit is open.
        points: ``(B, D)`` where the relaxed net is lowest.
    """

    unit: Tensor
    found: Tensor
    points: Tensor


def choice(
    program: Program,
    bounds: Bounds,
    forms: Forms,
    leaves: Leaves,
    candidates: int,
    target: float,
) -> Choice:
    """The units to split.

    Args:
        program: in the dtype to search in.
        bounds: of its units.
        forms: B of them, one a leaf.
        leaves: B.
        candidates: how many units are tried in each leaf, >= 2.
        target: bounds above it count alike.
    """
    lines = relaxation(bounds, leaves.splits)
    found = swept(program, lines, forms, leaves)
    points, arguments = minimisers(program, lines, found)
    by_lines = _line_scores(bounds, lines, found)
    by_point = _point_scores(bounds, lines, found, arguments)
    units = _candidates(by_lines, by_point, candidates)
    is_open = lines.is_open.gather(1, units)
    worth = _child_bounds(program, bounds, forms, leaves, units).clamp(max=target)
    score = worth.amin(dim=2) + _BETTER_SHARE * worth.amax(dim=2)
    score = torch.where(is_open, score.nan_to_num(nan=-1e30), -torch.inf)
    best = score.argmax(dim=1, keepdim=True)
    return Choice(units.gather(1, best)[:, 0], is_open.any(dim=1), points)


def with_split(leaves: Leaves, units: Tensor) -> Leaves:
    """Children of B leaves: those with ``units`` ``(B,)`` on, then with them off."""
    count, rows = len(units), torch.arange(len(units))
    splits = torch.cat([leaves.splits, leaves.splits])
    splits[rows, units] = -1
    splits[rows + count, units] = 1
    return Leaves(
        torch.cat([leaves.slopes, leaves.slopes]),
        torch.cat([leaves.prices, leaves.prices]),
        splits,
    )


def _line_scores(bounds: Bounds, lines: Relaxation, found: Swept) -> Tensor:
    below = _LOWER_SHARE * torch.minimum(bounds.high, -bounds.low)
    score = found.above.clamp(min=0.0) * below
    score = score - found.above.clamp(max=0.0) * lines.offset
    return torch.where(lines.is_open, score, -1.0)


def _point_scores(
    bounds: Bounds, lines: Relaxation, found: Swept, arguments: Tensor
) -> Tensor:
    """How far the relaxed units are from the true ones at the minimiser."""
    inside = torch.minimum(torch.maximum(arguments, bounds.low), bounds.high)
    up = lines.slope * inside + lines.offset
    relaxed = torch.where(found.above > 0.0, found.lower * inside, up)
    score = found.above.abs() * (inside.relu() - relaxed).abs()
    return torch.where(lines.is_open, score, -1.0)


def _candidates(by_lines: Tensor, by_point: Tensor, count: int) -> Tensor:
    """``(B, C)`` units, half of them by either score, none twice."""
    count = min(count, by_lines.shape[1])
    half = (count + 1) // 2
    first = by_lines.topk(half, dim=1).indices
    rest = by_point.scatter(1, first, -0.5)
    return torch.cat([first, rest.topk(count - half, dim=1).indices], dim=1)


def _child_bounds(
    program: Program, bounds: Bounds, forms: Forms, leaves: Leaves, units: Tensor
) -> Tensor:
    """``(B, C, 2)``: the bounds of both children for every candidate."""
    count, tried = units.shape
    rows = torch.arange(count).repeat_interleave(tried)
    children = with_split(leaves.rows(rows), units.flatten())
    both = torch.cat([rows, rows])
    lines = relaxation(bounds, children.splits)
    value = swept(program, lines, forms.rows(both), children).value
    return value.reshape(2, count, tried).permute(1, 2, 0)
