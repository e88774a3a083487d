"""How far the network that runs may be from the network that is certified."""

from __future__ import annotations

import torch
from torch import Tensor

UNITS = 256.0
"""Rounding units granted to a forward pass, in units of the largest logit.

Measured on the nets of the benchmarks, the float32 logits differ from the float64 ones
by at most 20 units of the largest logit. This is a stated margin, no proof: the
certificate speaks of the network over the reals.
"""


def float_slack(logits: Tensor, dtype: torch.dtype) -> Tensor:
    """Margin ``(N,)`` in logit units that rounding in ``dtype`` may eat.

    Twice the slack of one logit, because a margin is a difference of two.

    Args:
        logits: ``(N, K)`` float64.
        dtype: in which the model runs.
    """
    unit = torch.finfo(dtype).eps / 2.0
    return 2.0 * UNITS * unit * logits.abs().amax(dim=1).clamp(min=1.0)
