"""How far the network that runs may be from the network that is certified.

The certificate speaks of the network over the reals. A worst-case bound on the rounding
of a float32 forward pass is useless for deep nets (57 logit units on a six-layer net
whose real error is 6e-5), so the margin that is granted is a stated one, tied to what
was seen: no proof, but far from what happens.
"""

from __future__ import annotations

import torch
from torch import Tensor

UNITS = 256.0
"""Rounding units of the largest logit that are granted at least.

On seven trained nets (data, uniform noise and corners of the box, 1,000 inputs each)
float32 logits were off by at most 51 of these units."""

SEEN = 8.0
"""Times the largest difference seen on the samples that is granted at least.

This covers nets in which large numbers cancel, whose logits alone show nothing."""


def float_slack(exact: Tensor, running: Tensor) -> Tensor:
    """Margin ``(N,)`` float64, in logit units, that rounding may eat.

    Twice the slack of one logit, because a margin is a difference of two.

    Args:
        exact: ``(N, K)`` float64 logits of the graph.
        running: ``(N, K)`` logits of the model, in the dtype in which it runs.
    """
    unit = torch.finfo(running.dtype).eps / 2.0
    granted = UNITS * unit * exact.abs().amax(dim=1).clamp(min=1.0)
    seen = SEEN * (exact - running.to(exact)).abs().amax()
    return 2.0 * torch.maximum(granted, seen)
