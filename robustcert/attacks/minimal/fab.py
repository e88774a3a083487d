"""FAB-T: step onto the linearised boundary to a class, biased towards the sample.

Each pair of a sample and a class walks by itself. At each point the boundary is
linearised; both the point and the sample are projected on it inside the box, and the
next point lies between the two, a little beyond. From an adversarial point the walk
steps back towards the sample. Unlike the original, a class is given up once another one
is clearly nearer.

References:
    Croce, Hein. Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary
        Attack. ICML 2020. (Algorithm 1; the targeted version of section 3.4.)
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from robustcert.attacks.interface import Target
from robustcert.attacks.losses import likeliest_others, targeted_margin
from robustcert.attacks.minimal.hyperplane import steps_onto
from robustcert.attacks.minimal.nearest import Nearest, nearest_of
from robustcert.attacks.minimal.outlook import CLASSES
from robustcert.attacks.minimal.walk import Route, Visit, Walk
from robustcert.results.threat_model import ThreatModel
from robustcert.tensors import box_diameter, lp_norms, rows_like

_BIAS = 0.1
"""Largest weight of the sample's projection (alpha_max)."""

_BEYOND = 1.05
"""How far projections are followed (eta)."""

_BACK = 0.9
"""What is left of the perturbation after a backward step (beta)."""

_STRAY = 0.02
"""Step from a point without a gradient, in units of the box's diameter."""

_TRIAL = 0.1
"""The part of the walk after which a sample's slower classes are given up."""

_LAG = 1.2
"""How much farther than the sample's nearest find theirs are."""


def fab_t(target: Target, route: Route) -> Tensor:
    """The nearest adversarial iterates ``(N, *shape)``."""
    with torch.no_grad():
        logits = target.model.logits(target.inputs)
    goals = likeliest_others(logits, target.labels, CLASSES)
    owners = torch.arange(len(goals), device=goals.device)
    pairs = target.subset(owners.repeat_interleave(goals.shape[1]))
    nearest = nearest_of(pairs)
    # A pair is judged twice in each step.
    _search(pairs, goals, nearest, replace(route, patience=2 * route.patience))
    return _best_of(nearest, goals.shape[1])


def _search(pairs: Target, goals: Tensor, nearest: Nearest, route: Route) -> None:
    goal_of, width = goals.flatten(), goals.shape[1]
    size = nearest.origins[0].numel()
    stray = _STRAY * box_diameter(nearest.box, size, nearest.norm)

    def loss(logits: Tensor, rows: Tensor) -> Tensor:
        return targeted_margin(logits, pairs.labels[rows], goal_of[rows])

    def advance(visit: Visit) -> Tensor:
        between = _between(visit, pairs.threat)
        lost = rows_like(visit.flat, between)
        ahead = nearest.stored(between + stray * lost * visit.directions)
        with torch.no_grad():
            logits = pairs.model.logits(ahead)
        broken = nearest.note(visit.rows, ahead, logits)
        if visit.share >= _TRIAL:
            nearest.retire(_lagging(nearest.distances.view(-1, width)))
        back = visit.origins + _BACK * (ahead - visit.origins)
        return back.where(rows_like(broken, ahead), ahead)

    Walk(pairs, nearest, route, loss).run(nearest.origins, advance)


def _between(visit: Visit, threat: ThreatModel) -> Tensor:
    """The biased step: between both projections on the linearised boundary, beyond."""
    norm, box = threat.norm, threat.box
    moved = visit.points - visit.origins
    slant = (visit.gradients * moved).flatten(1).sum(dim=1)
    both = steps_onto(
        torch.cat([visit.points, visit.origins]),
        visit.gradients.repeat(2, *(1,) * (moved.ndim - 1)),
        torch.cat([-visit.losses, slant - visit.losses]),
        norm,
        box,
    )
    here, there = both.chunk(2)
    near, far = lp_norms(here, norm), lp_norms(there, norm)
    bias = (near / (near + far)).nan_to_num(nan=0.0).clamp(max=_BIAS)
    weight = rows_like(bias, moved)
    return visit.origins + (
        (1.0 - weight) * (moved + _BEYOND * here) + weight * _BEYOND * there
    )


def _lagging(distances: Tensor) -> Tensor:
    """``(N * width,)`` bool: pairs far behind the nearest of their sample."""
    return (distances > _LAG * distances.amin(dim=1, keepdim=True)).flatten()


def _best_of(nearest: Nearest, width: int) -> Tensor:
    """Of each sample's ``width`` pairs, the nearest find or the smallest margin."""
    distances = nearest.distances.view(-1, width)
    by_margin = nearest.margins.view(-1, width).argmin(dim=1)
    best = distances.argmin(dim=1).where(distances.isfinite().any(dim=1), by_margin)
    first = torch.arange(len(best), device=best.device) * width
    return nearest.points[first + best]
