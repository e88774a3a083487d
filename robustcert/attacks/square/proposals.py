"""What Square tries next: Algorithms 2 (L-infinity) and 3 (L2).

Reference:
    Andriushchenko, Croce, Flammarion, Hein. Square Attack: a query-efficient black-box
        adversarial attack via random search. ECCV 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustcert.attacks.square.canvas import Canvas, Dice
from robustcert.results.norm import Norm
from robustcert.results.threat_model import ThreatModel
from robustcert.tensors import clip_to_box, project


def first_points(
    canvas: Canvas, centres: Tensor, threat: ThreatModel, dice: Dice
) -> Tensor:
    """``(N, D)`` random points as far away as the ball allows.

    Args:
        canvas: the layout of D coordinates.
        centres: ``(N, D)`` the samples.
        threat: norm, epsilon and box.
        dice: for N rows.
    """
    if threat.norm is Norm.LINF:
        signs = canvas.stripes(dice)
        return project(centres + threat.epsilon * signs, centres, threat)
    bumps = canvas.bumps(dice)
    lengths = torch.linalg.vector_norm(bumps, dim=1, keepdim=True)
    return project(centres + threat.epsilon * bumps / lengths, centres, threat)


def next_points(
    canvas: Canvas,
    points: Tensor,
    centres: Tensor,
    threat: ThreatModel,
    share: float,
    dice: Dice,
) -> Tensor:
    """``(N, D)`` the points with one window changed, inside ball and box.

    Args:
        canvas: the layout of D coordinates.
        points: ``(N, D)`` the best so far.
        centres: ``(N, D)`` the samples.
        threat: norm, epsilon and box.
        share: of the input that changes.
        dice: for N rows.
    """
    change = _flipped if threat.norm is Norm.LINF else _moved_budget
    return project(
        change(canvas, points, centres, threat, share, dice), centres, threat
    )


def _flipped(
    canvas: Canvas,
    points: Tensor,
    centres: Tensor,
    threat: ThreatModel,
    share: float,
    dice: Dice,
) -> Tensor:
    """One group of a window goes to plus or minus epsilon, all of it.

    Where the signs drawn change nothing, the opposite ones are taken: a query that
    repeats the last one is lost.
    """
    cells = canvas.cells(share, dice)
    signs = dice.signs(cells.shape[1], 1)
    flat = cells.flatten(1)
    now, middle = points.gather(1, flat), centres.gather(1, flat)
    reach = threat.epsilon * signs.expand(cells.shape).flatten(1)
    moved = (clip_to_box(middle + reach, threat.box) - now).abs()
    same = (moved <= _STILL * threat.epsilon).all(dim=1, keepdim=True)
    return points.scatter(1, flat, middle + reach.where(~same, -reach))


_STILL = 1e-3
"""A coordinate that moves by less, in epsilons, stays where it is."""


def _moved_budget(
    canvas: Canvas,
    points: Tensor,
    centres: Tensor,
    threat: ThreatModel,
    share: float,
    dice: Dice,
) -> Tensor:
    """One window gives what it has of the budget to another, which adds a bump.

    Each group of the second window gets what both had in it, and its part of what the
    whole ball has left.
    """
    windows = canvas.transfer(share, dice)
    change = points - centres
    spare = (threat.epsilon**2 - change.square().sum(dim=1)).clamp(min=0.0)
    shape, flat = windows.cells.shape, windows.cells.flatten(1)
    kept = change.gather(1, flat).reshape(shape)
    emptied = change.scatter(1, flat, 0.0)
    other = windows.givers.flatten(1)
    taken = emptied.gather(1, other).reshape(shape)
    emptied = emptied.scatter(1, other, 0.0)
    energy = (kept.square() + taken.square()).sum(dim=2, keepdim=True)
    energy = energy + spare[:, None, None] / shape[1]
    lengths = torch.linalg.vector_norm(kept, dim=2, keepdim=True)
    bump = windows.bump * dice.signs(shape[1], 1)
    mixed = bump + kept / lengths.where(lengths > 0.0, 1.0)
    sizes = torch.linalg.vector_norm(mixed, dim=2, keepdim=True)
    # A bump opposite to what is there cancels it: then the bump alone is the direction.
    direction = bump.where(sizes <= _CANCELLED, mixed / sizes)
    scaled = direction * energy.sqrt()
    return centres + emptied.scatter(1, flat, scaled.flatten(1))


_CANCELLED = 1e-6
"""The sum of two unit vectors that is as good as 0."""
