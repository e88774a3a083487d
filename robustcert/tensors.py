"""Norms, projections and margins of batches of inputs; shapes are ``(N, *shape)``."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustcert.results.norm import Norm
from robustcert.results.threat_model import Box, ThreatModel


def lp_norms(batch: Tensor, norm: Norm) -> Tensor:
    """``(N,)`` norms of the rows of ``batch``, which may have any shape."""
    norms: Tensor = torch.linalg.vector_norm(batch.flatten(1), ord=norm.value, dim=1)
    return norms


def rows_like(rows: Tensor, batch: Tensor) -> Tensor:
    """View ``(N,)`` as ``(N, 1, ..., 1)`` so that it broadcasts over ``batch``."""
    return rows.reshape(rows.shape + (1,) * (batch.ndim - 1))


def clip_to_box(batch: Tensor, box: Box) -> Tensor:
    """Nearest points of the box."""
    return batch.clamp(box.low, box.high)


def project(inputs: Tensor, centres: Tensor, threat: ThreatModel) -> Tensor:
    """Points of ball and box near ``inputs``.

    L-infinity: the nearest point. L2: the ball's nearest point, then the box's; since
    the centre lies in the box, clipping never leaves the ball.

    Args:
        inputs: ``(N, *shape)``.
        centres: ``(N, *shape)``, inside the box.
        threat: norm, epsilon (input units) and box.

    Returns:
        ``(N, *shape)``.
    """
    if threat.norm is Norm.LINF:
        near = torch.minimum(
            torch.maximum(inputs, centres - threat.epsilon), centres + threat.epsilon
        )
        return clip_to_box(near, threat.box)
    return clip_to_box(
        centres + project_l2_ball(inputs - centres, threat.epsilon), threat.box
    )


def project_l2_ball(perturbation: Tensor, epsilon: float) -> Tensor:
    """Nearest point of the l2 ball of radius ``epsilon`` about 0.

    Args:
        perturbation: ``(N, *shape)`` in input units.
        epsilon: radius in input units, >= 0.

    Returns:
        ``(N, *shape)``; rows already inside come back unchanged.
    """
    norms = lp_norms(perturbation, Norm.L2).clamp(min=torch.finfo(torch.float32).tiny)
    shrink = (epsilon / norms).clamp(max=1.0)
    return perturbation * rows_like(shrink, perturbation)


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Gap between the label's logit and the best other logit.

    Args:
        logits: ``(N, K)``, K >= 2.
        labels: ``(N,)`` int64, each in ``[0, K)``.

    Returns:
        ``(N,)`` in logit units; negative where the model is wrong.
    """
    at_label = logits.gather(1, labels[:, None]).squeeze(1)
    others = logits.scatter(1, labels[:, None], -math.inf)
    return at_label - others.amax(dim=1)


def steepest_unit(vectors: Tensor, norm: Norm) -> Tensor:
    """The unit vectors of ``norm`` that gain most along ``vectors``; 0 stays 0."""
    if norm is Norm.LINF:
        return vectors.sign()
    lengths = lp_norms(vectors, Norm.L2).clamp(min=torch.finfo(vectors.dtype).tiny)
    return vectors / rows_like(lengths, vectors)


def box_diameter(box: Box, size: int, norm: Norm) -> float:
    """Largest distance between two points of a box with ``size`` coordinates."""
    return box.width if norm is Norm.LINF else box.width * math.sqrt(size)
