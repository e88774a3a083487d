"""Jacobians at points, and the pairs of inputs that realise their norms.

A Jacobian from automatic differentiation at a kink need not be a derivative at all:
``x - relu(x) + relu(-x)`` is constant, and its computed Jacobian at 0 is 1. So no bound
is claimed from a Jacobian; the pair around the point along its top direction is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.lipschitz.interface import Map, Problem
from robustcert.lipschitz.lower.claim import Pairs, require_finite
from robustcert.results.norm import Norm
from robustcert.results.threat_model import Box
from robustcert.tensors import (
    box_diameter,
    clip_to_box,
    lp_norms,
    rows_like,
    steepest_unit,
)

_INSET = 1e-3  # of the box's width: how far from its walls Jacobians are taken
_HALF_WIDTHS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 5e-2)  # of the box's width
_CHUNK = 2**23  # Jacobian entries held at a time
_BATCH = 256  # points that go through the model together
_FEW_OUTPUTS = 16  # up to here a whole Jacobian is cheaper than power steps
_POWER_STEPS = 6
_SECANT = 1e-3  # of the box's diameter

POWER_STEP_COST = 5
"""Forward passes that :func:`power_step` is worth."""


@dataclass(frozen=True, slots=True, eq=False)
class Slopes:
    """Jacobian norms ``(N,)`` at points, and the unit directions that attain them.

    ``points`` and ``directions`` are ``(N, *shape)``; ``norms`` is float64.
    """

    points: Tensor
    directions: Tensor
    norms: Tensor

    def steepest(self, count: int) -> Slopes:
        """The ``count`` points with the largest norms."""
        best = self.norms.topk(min(count, len(self.norms))).indices
        return Slopes(self.points[best], self.directions[best], self.norms[best])


def joined_slopes(parts: list[Slopes]) -> Slopes:
    """All points in one batch."""
    return Slopes(
        torch.cat([part.points for part in parts]),
        torch.cat([part.directions for part in parts]),
        torch.cat([part.norms for part in parts]),
    )


def slopes_cost(outputs: int) -> int:
    """Forward passes that :func:`slopes_at` is worth for each point."""
    if outputs <= _FEW_OUTPUTS:
        return 1 + 2 * outputs
    return _POWER_STEPS * POWER_STEP_COST


def slopes_at(problem: Problem, points: Tensor) -> Slopes:
    """Jacobian norms and the directions that attain them, a little inside the box.

    L2: the largest singular value, through the K x K Gram matrix in float64, and its
    right singular vector. L-infinity: the largest absolute row sum and the row's signs.
    With more than 16 outputs, six power steps approach both from below.

    Args:
        problem: its working map is differentiated.
        points: ``(N, *shape)``, N >= 1.

    Raises:
        UnsoundModelError: an output is NaN or infinite.
    """
    function = problem.working_map()
    inner = inset(points, problem.box)
    with torch.no_grad():
        outputs = function(inner[:1]).shape[1]
    if outputs > _FEW_OUTPUTS:
        return _powered(problem, function, inner)
    step = max(1, min(_BATCH, _CHUNK // (outputs * problem.size)))
    return joined_slopes(
        [_slopes(function, part, problem.norm) for part in torch.split(inner, step)]
    )


def power_step(problem: Problem, function: Map, slopes: Slopes) -> Slopes:
    """One step of the power method at each point: the norms its new directions attain.

    ``J v`` is taken from a short secant, which needs no second derivative; ``J^T u``
    is exact, and so the norms are lower estimates, equal to the Jacobian's norm once
    the directions have settled.

    Args:
        problem: its box and norm.
        function: its working map.
        slopes: points in the box, and any directions; the norms are not read.

    Raises:
        UnsoundModelError: an output is NaN or infinite.
    """
    parts = zip(
        torch.split(slopes.points, _BATCH),
        torch.split(slopes.directions, _BATCH),
        strict=True,
    )
    return joined_slopes(
        [_power_step(problem, function, points, along) for points, along in parts]
    )


def pairs_around(slopes: Slopes, box: Box) -> Pairs:
    """Pairs about each point along its direction, at several distances, in the box."""
    pairs = pairs_anywhere(slopes, box.width)
    return Pairs(clip_to_box(pairs.first, box), clip_to_box(pairs.second, box))


def pairs_anywhere(slopes: Slopes, width: float) -> Pairs:
    """Pairs about each point along its direction, at several shares of ``width``."""
    widths = [half * width for half in _HALF_WIDTHS]
    points = slopes.points.to(torch.float64)
    directions = slopes.directions.to(torch.float64)
    return Pairs(
        torch.cat([points + w * directions for w in widths]),
        torch.cat([points - w * directions for w in widths]),
    )


def inset(points: Tensor, box: Box) -> Tensor:
    """The nearest points that have room for a short pair in the box."""
    margin = _INSET * box.width
    return points.clamp(box.low + margin, box.high - margin)


def pushed_forward(function: Map, points: Tensor, directions: Tensor) -> Tensor:
    """``J v`` at each point, ``(N, K)``, by pulling back twice.

    ``w -> J^T w`` is linear, so its own pull-back of v is ``J v``. Forward
    differentiation would be cheaper, but for some operators it loads PyTorch's
    compiler, which writes files that the sandbox forbids.

    Args:
        function: differentiable twice; each row depends on its own input alone.
        points: ``(N, *shape)``; the result is differentiable by them.
        directions: v, ``(N, *shape)``.
    """
    with torch.enable_grad():
        leaf = points if points.requires_grad else points.detach().requires_grad_()
        outputs = function(leaf)
        weights = torch.zeros_like(outputs, requires_grad=True)
        (pulled,) = torch.autograd.grad(outputs, leaf, weights, create_graph=True)
        tangent: Tensor
        (tangent,) = torch.autograd.grad(pulled, weights, directions, create_graph=True)
    return tangent


def _powered(problem: Problem, function: Map, points: Tensor) -> Slopes:
    generator = torch.Generator().manual_seed(problem.seed)
    random = torch.randn(points.shape, generator=generator, dtype=torch.float64)
    along = steepest_unit(random.to(points), problem.norm)
    slopes = Slopes(points, along, torch.zeros(len(points), dtype=torch.float64))
    for _ in range(_POWER_STEPS):
        slopes = power_step(problem, function, slopes)
    return slopes


def _power_step(
    problem: Problem, function: Map, points: Tensor, directions: Tensor
) -> Slopes:
    norm = problem.norm
    short = _SECANT * box_diameter(problem.box, problem.size, norm)
    along = directions.to(points)
    with torch.no_grad():
        moved = function(points + short * along) - function(points - short * along)
    if norm is Norm.LINF:
        largest = moved.abs().argmax(dim=1, keepdim=True)
        pull = torch.zeros_like(moved).scatter(1, largest, 1.0)
    else:
        pull = steepest_unit(moved, norm)
    with torch.enable_grad():
        leaf = points.detach().requires_grad_()
        outputs = function(leaf)
        require_finite(outputs.detach())
        (pulled,) = torch.autograd.grad((outputs * pull).sum(), leaf)
    pulled = pulled.nan_to_num(0.0, 0.0, 0.0)
    norms = lp_norms(pulled.to(torch.float64), norm.dual)
    still = rows_like(norms == 0.0, pulled)
    return Slopes(points, torch.where(still, along, steepest_unit(pulled, norm)), norms)


def _slopes(function: Map, points: Tensor, norm: Norm) -> Slopes:
    jacobians = jacobians_at(function, points).to(torch.float64)
    if norm is Norm.LINF:
        sums = jacobians.abs().sum(dim=2)
        norms, rows = sums.max(dim=1)
        directions = jacobians.take_along_dim(rows[:, None, None], 1)[:, 0].sign()
    else:
        values, vectors = torch.linalg.eigh(jacobians @ jacobians.mT)
        norms = values[:, -1].clamp(min=0.0).sqrt()
        directions = torch.einsum("nk,nki->ni", vectors[:, :, -1], jacobians)
        lengths = directions.norm(dim=1, keepdim=True)
        directions = directions / lengths.clamp(min=1e-300)
    return Slopes(points, directions.reshape(points.shape), norms)


def jacobians_at(function: Map, points: Tensor) -> Tensor:
    """``(N, K, n)``, one backward pass a logit; what is not finite counts as flat.

    Raises:
        UnsoundModelError: an output is NaN or infinite.
    """
    with torch.enable_grad():
        leaf = points.detach().requires_grad_()
        outputs = function(leaf)
        require_finite(outputs.detach())
        rows = [
            torch.autograd.grad(outputs[:, k].sum(), leaf, retain_graph=True)[0]
            for k in range(outputs.shape[1])
        ]
    jacobians = torch.stack(rows, dim=1).flatten(2).detach()
    return jacobians.nan_to_num(0.0, 0.0, 0.0)
