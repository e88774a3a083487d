"""Every adversarial example is verified again, from its stored bits, on its own.

Whatever an attack returned is a claim. A claim counts if the bits that are kept, in
the model's own dtype, lie in the box, lie within epsilon of the sample as measured in
float64, and are misclassified by the original model in a batch of one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustcert.models.interface import LoadedModel
from robustcert.results.threat_model import Box, ThreatModel
from robustcert.tensors import clip_to_box, lp_norms, margins, project, rows_like

HALVINGS = 10
"""Bisection steps of :func:`shrink`: the segment is resolved to one part in 1024."""


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """What became of N candidates.

    Attributes:
        inputs: ``(N, *shape)`` the bits that were judged, in the model's dtype.
        distances: ``(N,)`` float64 norms of the perturbations, in input units.
        passed: ``(N,)`` bool.
        finite: ``(N,)`` bool, whether the model's logits were finite.
    """

    inputs: Tensor
    distances: Tensor
    passed: Tensor
    finite: Tensor

    def subset(self, rows: Tensor) -> Verification:
        """The candidates at ``rows`` (positions or a mask) alone."""
        return Verification(
            self.inputs[rows],
            self.distances[rows],
            self.passed[rows],
            self.finite[rows],
        )


def judged_margins(model: LoadedModel, inputs: Tensor, labels: Tensor) -> Tensor:
    """``(N,)`` float64 margins; NaN where a logit is not finite."""
    with torch.no_grad():
        logits = model.logits(inputs).double()
    finite = logits.isfinite().all(dim=1)
    return margins(logits, labels).where(finite, math.nan)


def fooled(model: LoadedModel, inputs: Tensor, labels: Tensor) -> Tensor:
    """``(N,)`` bool: another class strictly wins, and every logit is finite."""
    return judged_margins(model, inputs, labels) < 0.0


def settle(
    candidates: Tensor, centres: Tensor, threat: ThreatModel, dtype: torch.dtype
) -> Tensor:
    """Points of ball and box near ``candidates`` that ``dtype`` can store.

    Projects in float64; where rounding to ``dtype`` pushes a point out of the ball, it
    projects again on a ball smaller by the rounding. Non-finite coordinates become
    those of the centre.

    Args:
        candidates: ``(N, *shape)``, anything.
        centres: ``(N, *shape)``, inside the box.
        threat: norm, epsilon (input units) and box.
        dtype: of the result.

    Returns:
        ``(N, *shape)``. A point may still lie outside where epsilon is below the
        spacing of ``dtype``; verification then rejects it.
    """
    centres = centres.double()
    wanted = candidates.double()
    wanted = wanted.where(wanted.isfinite(), centres)
    stored = _stored(wanted, centres, threat, dtype)
    spacing = torch.finfo(dtype).eps * max(abs(threat.box.low), abs(threat.box.high))
    for steps in (1.0, math.sqrt(centres[0].numel()) if len(centres) else 1.0):
        outside = lp_norms(stored.double() - centres, threat.norm) > threat.epsilon
        if not outside.any():
            break
        tighter = replace(threat, epsilon=max(threat.epsilon - steps * spacing, 0.0))
        stored[outside] = _stored(wanted[outside], centres[outside], tighter, dtype)
    return stored


def _stored(
    wanted: Tensor, centres: Tensor, threat: ThreatModel, dtype: torch.dtype
) -> Tensor:
    return clip_to_box(project(wanted, centres, threat).to(dtype), threat.box)


def _inside(stored: Tensor, box: Box) -> Tensor:
    """Whether all coordinates lie in the box, its bounds rounded to the dtype."""
    return (stored == clip_to_box(stored, box)).flatten(1).all(dim=1)


def verify(
    model: LoadedModel,
    candidates: Tensor,
    centres: Tensor,
    labels: Tensor,
    threat: ThreatModel,
) -> Verification:
    """Judge each candidate on its own, after moving it into ball and box.

    Args:
        model: the original model.
        candidates: ``(N, *shape)``, anything.
        centres: ``(N, *shape)`` the samples, inside the box.
        labels: ``(N,)`` int64.
        threat: norm, epsilon (input units) and box.
    """
    stored = settle(candidates, centres, threat, model.dtype)
    distances = lp_norms(stored.double() - centres.double(), threat.norm)
    gaps = torch.full_like(distances, math.nan)
    for row in range(len(stored)):
        alone = slice(row, row + 1)
        gaps[alone] = judged_margins(model, stored[alone], labels[alone])
    # A point at distance 0 is the sample itself, which the attack did not change.
    within = (distances > 0.0) & (distances <= threat.epsilon)
    passed = (gaps < 0.0) & within & _inside(stored, threat.box)
    return Verification(stored, distances, passed, ~gaps.isnan())


def shrink(
    model: LoadedModel,
    found: Verification,
    centres: Tensor,
    labels: Tensor,
    threat: ThreatModel,
) -> Verification:
    """Smaller adversarial examples on the segments towards the samples.

    Bisects in batches, then verifies the outcome alone; where that fails, or is no
    smaller, the example that was given stays.

    Args:
        model: the original model.
        found: N examples, all passed.
        centres: ``(N, *shape)`` the samples, inside the box.
        labels: ``(N,)`` int64.
        threat: norm, epsilon (input units) and box.
    """
    origin, full = centres.double(), found.inputs.double() - centres.double()
    low = torch.zeros_like(found.distances)
    high = torch.ones_like(found.distances)
    for _ in range(HALVINGS if len(high) else 0):
        middle = (low + high) / 2.0
        points = settle(
            origin + rows_like(middle, full) * full, centres, threat, model.dtype
        )
        broken = fooled(model, points, labels)
        high, low = high.where(~broken, middle), low.where(broken, middle)
    smaller = verify(
        model, origin + rows_like(high, full) * full, centres, labels, threat
    )
    better = smaller.passed & (smaller.distances < found.distances)
    return Verification(
        smaller.inputs.where(rows_like(better, full), found.inputs),
        smaller.distances.where(better, found.distances),
        found.passed,
        found.finite,
    )
