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
from robustcert.tensors import clip_to_box

_INSET = 1e-3  # of the box's width: how far from its walls Jacobians are taken
_HALF_WIDTHS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 5e-2)  # of the box's width
_CHUNK = 2**23  # Jacobian entries held at a time


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


def slopes_at(problem: Problem, points: Tensor) -> Slopes:
    """Jacobian norms and the directions that attain them, a little inside the box.

    L2: the largest singular value, through the K x K Gram matrix in float64, and its
    right singular vector. L-infinity: the largest absolute row sum and the row's signs.

    Args:
        problem: its working map is differentiated.
        points: ``(N, *shape)``, N >= 1.

    Raises:
        UnsoundModelError: an output is NaN or infinite.
    """
    function = problem.working_map()
    inner = _inset(points, problem.box)
    with torch.no_grad():
        outputs = function(inner[:1]).shape[1]
    step = max(1, _CHUNK // (outputs * problem.size))
    parts = [_slopes(function, part, problem.norm) for part in torch.split(inner, step)]
    return Slopes(
        torch.cat([part.points for part in parts]),
        torch.cat([part.directions for part in parts]),
        torch.cat([part.norms for part in parts]),
    )


def pairs_around(slopes: Slopes, box: Box) -> Pairs:
    """Pairs about each point along its direction, at several distances."""
    widths = [half * box.width for half in _HALF_WIDTHS]
    points = slopes.points.to(torch.float64)
    directions = slopes.directions.to(torch.float64)
    return Pairs(
        torch.cat([clip_to_box(points + w * directions, box) for w in widths]),
        torch.cat([clip_to_box(points - w * directions, box) for w in widths]),
    )


def _inset(points: Tensor, box: Box) -> Tensor:
    inset = _INSET * box.width
    return points.clamp(box.low + inset, box.high - inset)


def _slopes(function: Map, points: Tensor, norm: Norm) -> Slopes:
    jacobians = _jacobians(function, points).to(torch.float64)
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


def _jacobians(function: Map, points: Tensor) -> Tensor:
    """``(N, K, n)``, one backward pass a logit; what is not finite counts as flat."""
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
