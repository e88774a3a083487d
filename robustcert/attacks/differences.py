"""Slopes estimated from differences at the scale of epsilon: no gradient is needed.

Reference:
    Uesato et al. Adversarial Risk and the Dangers of Evaluating Against Weak Attacks.
        ICML 2018. (Differences along random signs: SPSA.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustcert.attacks.interface import Target
from robustcert.attacks.verify import judged_margins
from robustcert.results.norm import Norm
from robustcert.results.threat_model import ThreatModel
from robustcert.tensors import clip_to_box, rows_like

PAIRS = 16
"""Random directions, each tried both ways, behind one estimated slope."""


def difference_gradients(
    task: Target, points: Tensor, generator: torch.Generator
) -> Tensor:
    """``(M, *shape)`` slopes of the margin's fall, from differences over epsilon.

    Args:
        task: the M samples.
        points: ``(M, *shape)``.
        generator: of the directions, on the points' device.
    """
    reach = coordinate_reach(task.threat, points[0].numel() if len(points) else 1)
    total = torch.zeros_like(points)
    for _ in range(PAIRS):
        draws = torch.randint(
            2, points.shape, generator=generator, device=points.device
        )
        signs = draws.to(points.dtype) * 2.0 - 1.0
        ahead, behind = (
            judged_margins(
                task.model,
                clip_to_box(points + way * reach * signs, task.threat.box),
                task.labels,
            ).nan_to_num(nan=0.0)
            for way in (1.0, -1.0)
        )
        total += rows_like((behind - ahead).to(points.dtype), points) * signs
    return total


def coordinate_reach(threat: ThreatModel, size: int) -> float:
    """How far one of ``size`` coordinates goes when all go equally far."""
    if threat.norm is Norm.LINF:
        return threat.epsilon
    return float(threat.epsilon / size**0.5)
