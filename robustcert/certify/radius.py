"""Radii from verdicts: bisection, the samples of a batch together.

Steps are even on a logarithmic scale, because a radius may be far below the first
guess; while nothing is proved they reach down 1, 2, 4, 8, 16 octaves. A radius that is
returned was proved once more, alone: what is said about a sample does not rest on those
it was batched with.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Protocol, final

import torch
from torch import Tensor

from robustcert.certify.interface import CertificationTask, Proof
from robustcert.tensors import box_diameter

STEPS = 14
"""They end less than 0.1 % below a refusal if the radius is above a 16th of the upper
end, 0.8 % below if it is above a 256th."""

SMALLEST = 2.0**-20
"""How small a share of the upper end may be and still be looked for."""

CLOSE = 1.001
"""Ends whose ratio is below this are not told apart."""

RETREATS = (1.0, 0.99, 0.9)
"""Shares of a radius that are tried alone. The first one passes, unless a method with a
time limit was luckier in the batch."""


class Prove(Protocol):
    """:meth:`robustcert.certify.interface.Certifier.prove` without a time limit."""

    def __call__(self, task: CertificationTask, radii: Tensor, /) -> Proof:
        """Whether each of N samples keeps its class within its radius ``(N,)``."""
        ...


class ByBisection(ABC):
    """A certifier that judges a ball, and finds radii by bisection."""

    @abstractmethod
    def prove(
        self, task: CertificationTask, radii: Tensor, seconds: float = math.inf
    ) -> Proof:
        """See :meth:`robustcert.certify.interface.Certifier.prove`."""

    @final
    def radii(self, task: CertificationTask, most: Tensor) -> Tensor:
        """See :meth:`robustcert.certify.interface.Certifier.radii`.

        The steps are :data:`STEPS` and two more: the upper end first, the result last.
        """
        widest = box_diameter(task.box, task.inputs[:1].numel(), task.norm)
        ends = most.to(torch.float64).clamp(min=0.0, max=widest)
        whole = self.prove(task, ends).proved
        known = ends.where(whole, torch.zeros_like(ends))
        return searched(self.prove, task, known, ends)


def searched(
    prove: Prove,
    task: CertificationTask,
    known: Tensor,
    most: Tensor,
    steps: int = STEPS,
) -> Tensor:
    """Proved radii ``(N,)`` from ``known`` up to below ``most``.

    Args:
        prove: judges balls; only samples that are still open are shown to it.
        task: N samples.
        known: ``(N,)`` float64 >= 0, returned where nothing better is proved. A radius
            that comes back unchanged is not judged again.
        most: ``(N,)`` float64, finite; not judged itself.
        steps: judgements in the batch, at most; one more follows, alone.
    """
    low, high = known.clone(), most.clone()
    for _ in range(steps):
        rows = apart(low, high, most)
        if not len(rows):
            break
        middle = halfway(low[rows], high[rows], most[rows])
        good = prove(task.subset(rows), middle).proved
        low[rows] = middle.where(good, low[rows])
        high[rows] = high[rows].where(good, middle)
    return _confirmed(prove, task, low, known)


def apart(low: Tensor, high: Tensor, most: Tensor, close: float = CLOSE) -> Tensor:
    """Positions where the ends are more than a factor ``close`` apart."""
    return (high > close * low.maximum(most * SMALLEST)).nonzero().flatten()


def halfway(low: Tensor, high: Tensor, most: Tensor) -> Tensor:
    """Radii ``(N,)`` between the ends: where to look next.

    Args:
        low: ``(N,)`` proved radii.
        high: ``(N,)`` radii that could not be proved.
        most: ``(N,)`` where ``high`` began.
    """
    further = high * (high / most).clamp(max=0.5)
    return torch.where(low > 0.0, low.sqrt() * high.sqrt(), further)


def _confirmed(
    prove: Prove, task: CertificationTask, radii: Tensor, known: Tensor
) -> Tensor:
    """The radii, each proved in a batch of one or given up for what was known."""
    confirmed = known.clone()
    for row in (radii > known).nonzero().flatten().tolist():
        alone = task.rows(row, row + 1)
        for share in RETREATS:
            radius = radii[row : row + 1] * share
            if radius.item() <= known[row].item():
                break
            if prove(alone, radius).proved.item():
                confirmed[row] = radius
                break
    return confirmed
