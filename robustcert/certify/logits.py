"""One logit as two, as :func:`robustcert.models.interface.as_logits` does it."""

from __future__ import annotations

import torch
from torch import Tensor


def binary_as_pair(logits: Tensor) -> Tensor:
    """``(N, K)`` with K >= 2: a single logit z becomes (0, z)."""
    if logits.shape[1] > 1:
        return logits
    return torch.cat([torch.zeros_like(logits), logits], dim=1)
