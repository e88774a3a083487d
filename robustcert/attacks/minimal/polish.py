"""Smaller adversarial examples near a given one, whatever attack found it.

Where an example touches the decision boundary, the boundary is linearised and the
*sample* projected on it inside the box. On a linear model that is the nearest point of
the class that was reached. Elsewhere the projection may keep its class; the points
between it and the example lie on the same hyperplane, and each is closer to the sample
than the example is. At first the boundaries to other classes are tried too, since the
class that was reached need not be the nearest.

References:
    Croce, Hein. Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary
        Attack. ICML 2020. (The projection of the sample, section 3.2.)
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from robustcert.attacks.interface import Target
from robustcert.attacks.losses import negative_margin
from robustcert.attacks.minimal.hyperplane import steps_onto
from robustcert.attacks.minimal.nearest import nearest_of
from robustcert.attacks.minimal.outlook import outlook
from robustcert.attacks.minimal.sight import OWN_SIGHT
from robustcert.attacks.slope import slope
from robustcert.attacks.verify import Verification, verify
from robustcert.tensors import rows_like

_ROUNDS = 5

_WEIGHTS = (1.0, 0.3, 0.1, 0.03)
"""Of the projection against the example, both lying on the hyperplane."""

_OVERSHOOTS = (1e-3, 1e-2)
"""How far beyond the hyperplane, as a part of the distance."""


def polished(target: Target, found: Verification) -> Verification:
    """Smaller adversarial examples; where there is none, those that were given.

    The other classes cost up to nine gradients of each example. Then a round costs one
    gradient and eight forward passes of each example that the last one made smaller.

    Args:
        target: the N samples.
        found: N examples, all passed.

    Returns:
        N examples, all verified alone, none farther from its sample than before.
    """
    points = _across(target, found) if len(found.inputs) else found.inputs
    rows = torch.arange(len(points), device=points.device)
    for _ in range(_ROUNDS):
        if not len(rows):
            break
        tried, better = _closer(target.subset(rows), points[rows])
        points[rows] = tried
        rows = rows[better]
    smaller = verify(target.model, points, target.inputs, target.labels, target.threat)
    better = smaller.passed & (smaller.distances < found.distances)
    return Verification(
        smaller.inputs.where(rows_like(better, points), found.inputs),
        smaller.distances.where(better, found.distances),
        found.passed,
        found.finite,
    )


def _across(target: Target, found: Verification) -> Tensor:
    """The examples, or what lies across the boundaries to other classes and nearer."""
    nearest = nearest_of(target)
    origins = nearest.origins
    points = found.inputs.to(origins.dtype)
    rows = torch.arange(len(points), device=points.device)
    with torch.no_grad():
        nearest.note(rows, points, target.model.logits(points))
    view = outlook(target, origins, points, OWN_SIGHT)
    for column, overshoot in itertools.product(range(view.sizes.shape[1]), _OVERSHOOTS):
        nearer = (1.0 + overshoot) * view.sizes[:, column] < nearest.distances
        rows = nearer.nonzero().flatten()
        step = (1.0 + overshoot) * view.steps[rows, column]
        tried = nearest.stored(origins[rows] + step)
        with torch.no_grad():
            nearest.note(rows, tried, target.model.logits(tried))
    return nearest.points


def _closer(target: Target, points: Tensor) -> tuple[Tensor, Tensor]:
    """One round: the nearest points of all tried, and where they are new."""
    nearest = nearest_of(target)
    origins = nearest.origins
    rows = torch.arange(len(points), device=points.device)
    moved = points - origins
    look = slope(
        target.model.logits,
        points,
        lambda logits: negative_margin(logits, target.labels),
    )
    nearest.note(rows, points, look.logits)
    before = nearest.distances.clone()
    slant = (look.gradients * moved).flatten(1).sum(dim=1)
    projected = steps_onto(
        origins, look.gradients, slant - look.losses, nearest.norm, nearest.box
    )
    for weight, overshoot in itertools.product(_WEIGHTS, _OVERSHOOTS):
        between = moved + weight * (projected - moved)
        tried = nearest.stored(origins + (1.0 + overshoot) * between)
        with torch.no_grad():
            nearest.note(rows, tried, target.model.logits(tried))
    return nearest.points, nearest.distances < before
