"""FMN: descend the margin inside a ball whose radius is adapted.

Until the sample's class is lost, the radius is the current norm plus the linearised
distance to the boundary; then it shrinks from the smallest find by a factor, and grows
by it whenever the class comes back. Steps are a share of the radius, where the
original's fit pictures in [0, 1], and units of steepest ascent in the threat's norm.

References:
    Pintor, Roli, Brendel, Biggio. Fast Minimum-norm Adversarial Attacks through
        Adaptive Norm Constraints. NeurIPS 2021. (Algorithm 1.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustcert.attacks.interface import Target
from robustcert.attacks.losses import negative_margin
from robustcert.attacks.minimal.nearest import nearest_of, resized
from robustcert.attacks.minimal.outlook import outlook
from robustcert.attacks.minimal.schedule import cosine
from robustcert.attacks.minimal.walk import Route, Visit, Walk
from robustcert.results.norm import Norm
from robustcert.tensors import box_diameter, lp_norms, rows_like

_STRIDES = (1.0, 0.01)
"""First and last step, in units of the current radius."""

_FACTORS = (0.05, 0.001)
"""First and last change of the radius."""


def fmn(target: Target, route: Route) -> Tensor:
    """The nearest adversarial iterates ``(N, *shape)``."""
    nearest = nearest_of(target)
    norm = target.threat.norm
    widest = box_diameter(target.threat.box, nearest.origins[0].numel(), norm)
    radii = torch.full_like(nearest.distances, widest)

    def loss(logits: Tensor, rows: Tensor) -> Tensor:
        return negative_margin(logits, target.labels[rows])

    def advance(visit: Visit) -> Tensor:
        factor = cosine(*_FACTORS, visit.share)
        found, old = nearest.distances[visit.rows], radii[visit.rows]
        moved = visit.points - visit.origins
        ahead = lp_norms(moved, norm) + visit.distances(norm)
        wider = old.where(found.isfinite(), ahead) * (1.0 + factor)
        tighter = torch.minimum(old * (1.0 - factor), found)
        radius = tighter.where(visit.broken, wider).nan_to_num(nan=widest)
        radii[visit.rows] = radius = radius.clamp(max=widest)
        stride = cosine(*_STRIDES, visit.share) * radius
        moved = moved + rows_like(stride, moved) * visit.directions
        return visit.origins + _inside_ball(moved, norm, radius)

    start = outlook(target, nearest.origins, nearest.origins, route.sight).nearest
    Walk(target, nearest, route, loss).run(nearest.origins + start, advance)
    return nearest.points


def _inside_ball(moved: Tensor, norm: Norm, radii: Tensor) -> Tensor:
    """Nearest perturbations with norms of at most ``radii`` ``(M,)``."""
    if norm is Norm.LINF:
        bounds = rows_like(radii, moved)
        return torch.minimum(torch.maximum(moved, -bounds), bounds)
    return resized(moved, norm, torch.minimum(lp_norms(moved, norm), radii))
