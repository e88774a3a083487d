"""The Jitter loss: it pulls towards many classes, not towards the likeliest alone.

Reference:
    Schwinn, Raab, Nguyen, Zanca, Eskofier. Exploring Misclassifications of Robust
        Neural Networks to Enhance Adversarial Attacks. 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustcert.attacks.apgd.objectives import Query
from robustcert.tensors import lp_norms, margins

SHARPNESS = 10.0
"""Alpha: the largest logit's size under the softmax."""

NOISE = 0.1
"""Sigma: of what is added to the softmax."""


def jitter_loss(
    scaled: Tensor, labels: Tensor, noise: Tensor, distances: Tensor
) -> Tensor:
    """``|softmax(scaled) + noise - e_y|_2``, divided by the distance once fooled.

    Args:
        scaled: ``(N, K)`` logits, brought to a common scale.
        labels: ``(N,)`` int64.
        noise: ``(N, K)``.
        distances: ``(N,)`` norms of the perturbations, constants here; 0 divides by 1.

    Returns:
        ``(N,)``.
    """
    wanted = torch.nn.functional.one_hot(labels, scaled.shape[1])
    away = scaled.softmax(dim=1) + noise - wanted
    divisor = distances.where((margins(scaled, labels) < 0.0) & (distances > 0.0), 1.0)
    lengths: Tensor = torch.linalg.vector_norm(away, dim=1)
    return lengths / divisor.detach()


def jitter(logits: Tensor, query: Query) -> Tensor:
    """Jitter's value without noise, with the gradient of its noisy version.

    APGD compares values, and noise as large as this would decide each comparison.
    """
    goals = query.goals
    scaled = _at_common_scale(logits, goals.temperatures)
    noise = NOISE * torch.randn(
        scaled.shape,
        generator=query.generator,
        device=scaled.device,
        dtype=scaled.dtype,
    )
    distances = lp_norms(query.perturbations.double(), query.norm)
    noisy = jitter_loss(scaled, goals.labels, noise, distances)
    plain = jitter_loss(
        scaled.detach(), goals.labels, torch.zeros_like(noise), distances
    )
    return plain + (noisy - noisy.detach())


def _at_common_scale(logits: Tensor, temperatures: Tensor) -> Tensor:
    """``10 z / |z|_inf``; two classes keep the samples' temperature.

    Divided by its own size, a single logit is its sign, which does not slope.
    """
    if logits.shape[1] == 2:
        return temperatures * logits
    sizes = logits.abs().amax(dim=1, keepdim=True)
    return SHARPNESS * logits / sizes.where(sizes > 0.0, 1.0)
