"""Where lanes begin."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from robustcert.attacks.ascent.hunt import Hunt
from robustcert.results.norm import Norm
from robustcert.tensors import project, rows_like, steepest_unit

Start = Callable[[Hunt, Tensor], Tensor]
"""Points ``(A, *shape)`` for the samples at ``(A,)`` positions."""


def at_sample(hunt: Hunt, rows: Tensor) -> Tensor:
    """The samples themselves."""
    return hunt.target.inputs[rows].to(hunt.points)


def at_random(hunt: Hunt, rows: Tensor) -> Tensor:
    """Anywhere in the ball.

    Uniform for L-infinity; for L2 in a uniform direction at a uniform distance.
    """
    threat, centres = hunt.target.threat, at_sample(hunt, rows)
    offset = torch.empty_like(centres)
    if threat.norm is Norm.LINF:
        offset.uniform_(-1.0, 1.0, generator=hunt.generator)
    else:
        offset.normal_(generator=hunt.generator)
        sizes = centres.new_empty(len(rows)).uniform_(generator=hunt.generator)
        offset = steepest_unit(offset, threat.norm) * rows_like(sizes, offset)
    return project(centres + threat.epsilon * offset, centres, threat)
