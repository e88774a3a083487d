"""DDN: the perturbation's direction follows the gradient, its norm a bracket.

The norm grows by a small factor while the sample keeps its class and shrinks by it once
it is lost, so that the walk settles on the decision boundary. Here norms and steps are
relative, where the original's fit pictures in [0, 1]: the first norm is the linearised
distance, a step is a share of the current norm, and both factors are annealed.

References:
    Rony, Hafemann, Oliveira, Ben Ayed, Sabourin, Granger. Decoupling Direction and Norm
        for Efficient Gradient-Based L2 Adversarial Attacks and Defenses. CVPR 2019.
        (Algorithm 1.)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustcert.attacks.interface import Target
from robustcert.attacks.minimal.nearest import nearest_of, resized
from robustcert.attacks.minimal.outlook import outlook
from robustcert.attacks.minimal.schedule import cosine
from robustcert.attacks.minimal.walk import Route, Visit, Walk
from robustcert.results.norm import Norm
from robustcert.tensors import box_diameter, lp_norms, rows_like

_STRIDES = (0.3, 0.01)
"""First and last step, in units of the current norm."""

_FACTORS = (0.05, 0.001)
"""First and last change of the norm; the original keeps the first."""

_SPREAD = 60.0
"""Of the logits: the classes that matter are the few that are nearly as likely."""

_BLIND = 0.01
"""First norm without a boundary in sight, in units of the box's diameter."""

_LEAP = 0.2
"""Change of the norm while no adversarial example has been seen."""


def ddn(target: Target, route: Route) -> Tensor:
    """The nearest adversarial iterates ``(N, *shape)``."""
    nearest = nearest_of(target)
    widest = box_diameter(target.threat.box, nearest.origins[0].numel(), Norm.L2)
    start = outlook(target, nearest.origins, nearest.origins, route.sight).nearest
    sizes = lp_norms(start, Norm.L2)
    sizes = sizes.where(sizes > 0.0, _BLIND * widest).clamp(max=0.1 * widest)
    sharpen = _sharpness(target, nearest.origins)

    def loss(logits: Tensor, rows: Tensor) -> Tensor:
        return _gap(logits * sharpen[rows], target.labels[rows])

    def advance(visit: Visit) -> Tensor:
        factor = torch.full_like(visit.losses, cosine(*_FACTORS, visit.share))
        factor[nearest.distances[visit.rows].isinf()] = _LEAP
        sizes[visit.rows] *= torch.where(visit.broken, 1.0 - factor, 1.0 + factor)
        size = sizes[visit.rows]
        stride = cosine(*_STRIDES, visit.share) * size
        moved = visit.points - visit.origins
        moved = moved + rows_like(stride, moved) * visit.directions
        return visit.origins + resized(moved, Norm.L2, size)

    start = nearest.origins + resized(start, Norm.L2, sizes)
    Walk(target, nearest, route, loss).run(start, advance)
    return nearest.points


def _gap(logits: Tensor, labels: Tensor) -> Tensor:
    """``(M,)`` soft maximum of the other logits against the label's.

    Its gradient points where cross-entropy's does, and does not vanish where the label
    is all but certain.
    """
    others = logits.scatter(1, labels[:, None], -math.inf).logsumexp(dim=1)
    return others - logits.gather(1, labels[:, None]).squeeze(1)


def _sharpness(target: Target, origins: Tensor) -> Tensor:
    """``(N, 1)`` factors that bring the rows' spreads to :data:`_SPREAD`."""
    with torch.no_grad():
        logits = target.model.logits(origins).to(origins.dtype)
    spread = logits.amax(dim=1) - logits.amin(dim=1)
    return (_SPREAD / spread.clamp(min=torch.finfo(spread.dtype).tiny))[:, None]
