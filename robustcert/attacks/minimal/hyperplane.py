"""The smallest step from a point onto a hyperplane that stays inside the box.

References:
    Croce, Hein. Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary
        Attack. ICML 2020. (The problem, equation 5; solved here for l2 and l-infinity
        by one sort of the breakpoints.)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustcert.results.norm import Norm
from robustcert.results.threat_model import Box


def steps_onto(
    points: Tensor, normals: Tensor, gains: Tensor, norm: Norm, box: Box
) -> Tensor:
    """The smallest d with ``<normal, d> = gain`` and ``point + d`` in the box.

    Each coordinate moves by ``min(t * speed, room)`` towards the hyperplane, where the
    speed is ``|normal_i|`` for l2 and 1 for l-infinity, and the room is the way to the
    box's face. What that gains is concave and piecewise linear in t.

    Args:
        points: ``(N, *shape)``, inside the box.
        normals: ``(N, *shape)``, finite.
        gains: ``(N,)`` of either sign.
        norm: in which d is smallest.
        box: the valid input range.

    Returns:
        ``(N, *shape)``. Where the hyperplane misses the box, the step to its corner
        nearest to it; 0 where the normal is 0.
    """
    flat, w = points.flatten(1), normals.flatten(1)
    tiny = torch.finfo(w.dtype).tiny
    scale = w.abs().amax(dim=1).clamp(min=tiny)
    w = w * (gains.sign() / scale)[:, None]
    pull = w.abs()
    room = (box.high - flat).where(w > 0, flat - box.low).clamp(min=0.0)
    speed = pull if norm is Norm.L2 else (w != 0).to(w.dtype)
    limits = (room / speed).where(speed > 0, 0.0)
    times = _arrivals(pull * speed, limits, pull * room, gains.abs() / scale)
    moved = torch.minimum(torch.minimum(times[:, None], limits) * speed, room)
    return (w.sign() * moved).view_as(points)


def _arrivals(rates: Tensor, limits: Tensor, most: Tensor, goals: Tensor) -> Tensor:
    """``(N,)`` smallest t with ``sum_i rates_i min(t, limits_i) = goal``.

    Args:
        rates: ``(N, D)``, >= 0.
        limits: ``(N, D)``, >= 0: when a coordinate has reached its face.
        most: ``(N, D)`` the products of both.
        goals: ``(N,)``, >= 0.

    Returns:
        Infinity where the goal is out of reach.
    """
    limits, order = limits.sort(dim=1)
    rates, most = rates.gather(1, order), most.gather(1, order)
    still = rates.flip(1).cumsum(dim=1).flip(1)
    arrivals = (goals[:, None] - (most.cumsum(dim=1) - most)) / still
    # The first breakpoint that lies beyond the goal ends the piece with the solution.
    before = (~(arrivals <= limits)).sum(dim=1, keepdim=True)
    reached = (before < limits.shape[1]).squeeze(1)
    at = arrivals.gather(1, before.clamp(max=limits.shape[1] - 1)).squeeze(1)
    return at.clamp(min=0.0).where(reached, math.inf)
