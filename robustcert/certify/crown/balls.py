"""Balls around a batch of inputs, and the least value of linear forms over them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.certify.interface import CertificationTask
from robustcert.lipschitz.local.intervals import Interval
from robustcert.results.norm import Norm
from robustcert.results.threat_model import Box
from robustcert.tensors import rows_like

_OUTWARD = 1.0 + 2.0**-50
_SQUARES = 1e-30  # below, the box alone counts: digits of the radius are lost


@dataclass(frozen=True, slots=True, eq=False)
class Balls:
    """All x with ``|x - centre| <= radius`` in the box, for N samples.

    Attributes:
        centres: ``(N, *shape)``, inside the box.
        radii: ``(N,)``, in input units, >= 0.
        norm: L2 or L-infinity.
        box: the valid inputs.
        interval: ``(N, *shape)`` that holds the set, rounded outwards.
    """

    centres: Tensor
    radii: Tensor
    norm: Norm
    box: Box
    interval: Interval

    def to(self, dtype: torch.dtype) -> Balls:
        """The same in another dtype, rounded to nearest: for searches."""
        ends = Interval(self.interval.low.to(dtype), self.interval.high.to(dtype))
        centres, radii = self.centres.to(dtype), self.radii.to(dtype)
        return Balls(centres, radii, self.norm, self.box, ends)

    @property
    def sizes(self) -> Tensor:
        """``(N, *shape)``: more than what a coordinate, and a step, may measure."""
        reach = rows_like(self.radii, self.centres)
        return (self.centres.abs() + reach) * _OUTWARD


def balls_of(task: CertificationTask, radii: Tensor) -> Balls:
    """The balls of a task's samples; radii ``(N,)`` float64, in input units."""
    reach = rows_like(radii, task.inputs)
    around = Interval(task.inputs - reach, task.inputs + reach).widened()
    low = around.low.clamp(task.box.low, task.box.high)
    high = around.high.clamp(task.box.low, task.box.high)
    ends = Interval(torch.minimum(low, task.inputs), torch.maximum(high, task.inputs))
    return Balls(task.inputs, radii, task.norm, task.box, ends)


def least_step(rows: Tensor, falls: Tensor, rises: Tensor, radii: Tensor) -> Tensor:
    r"""Lower bounds ``(R,)`` of ``row . d`` for ``|d|_2 <= radius`` within limits.

    With ``s_i`` the length of the step against the sign of ``a_i`` and ``t_i`` its
    limit, weak duality gives for every multiplier

    .. math:: \min_d a^T d \ge \sum_i \left(-|a_i| s_i + \lambda s_i^2 / 2\right)
        - \lambda r^2 / 2, \qquad s_i = \min(|a_i| / \lambda, t_i).

    The multiplier is right if exactly those coordinates are at their limits that would
    be if no limit but 0 mattered. So the bound is never worse than the ball's own; and
    never worse than the box's without the ball, which is tried too.

    Args:
        rows: ``(R, n)``.
        falls: ``(R, n)`` <= 0, the least d.
        rises: ``(R, n)`` >= 0, the largest d.
        radii: ``(R,)``.

    Reference:
        Boyd, Vandenberghe. Convex Optimization. 2004, section 5.1.3.
    """
    limits = torch.where(rows > 0.0, -falls, rises)
    sizes = rows.abs()
    box = -_dots(sizes, limits)
    with torch.no_grad():
        multiplier = _multiplier(sizes, limits, radii)
    steps = torch.minimum(sizes / multiplier[:, None], limits)
    squares = radii.square()
    room = squares.masked_fill(squares < _SQUARES, torch.nan) - _dots(steps, steps)
    ball: Tensor = -0.5 * multiplier * room - _dots(sizes, steps)
    return torch.fmax(box, ball)


def _multiplier(sizes: Tensor, limits: Tensor, radii: Tensor) -> Tensor:
    """What the coordinates between their limits leave as ``lambda`` ``(R,)``."""
    loose = sizes.masked_fill(limits <= 0.0, 0.0)
    start = torch.linalg.vector_norm(loose, dim=1) / radii
    steps = loose / start[:, None]
    clipped = steps >= limits
    taken = limits.masked_fill(~clipped, 0.0)
    free = loose.masked_fill_(clipped, 0.0)
    room = (radii.square() - _dots(taken, taken)).clamp(min=0.0)
    multiplier = torch.linalg.vector_norm(free, dim=1) / room.sqrt()
    return torch.fmin(multiplier, start)


def _dots(left: Tensor, right: Tensor) -> Tensor:
    """``(R,)``: row by row."""
    return torch.bmm(left[:, None], right[:, :, None]).flatten()
