"""The best point that an attack saw of each sample, and which samples are done."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.attacks.interface import Target
from robustcert.attacks.verify import settle
from robustcert.models.interface import LoadedModel
from robustcert.tensors import margins

Judge = Callable[[LoadedModel, Tensor, Tensor], Tensor]
"""``(N,)`` bool: whether samples with these stored points and labels are done."""


def never(_: LoadedModel, inputs: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG001 - a Judge
    """No sample is ever done: one lucky answer of a random model proves little."""
    return torch.zeros_like(labels, dtype=torch.bool)


@dataclass(slots=True, eq=False)
class Finds:
    """One point for each of N samples; grows as the attack runs.

    Attributes:
        target: the task.
        judge: of points that fool the model as queried, once they are stored.
        points: ``(N, *shape)``: of samples that are done, what was judged; of others,
            the point with the smallest margin.
        gaps: ``(N,)`` float64 smallest margins; infinite where none was seen.
        done: ``(N,)`` bool.
    """

    target: Target
    judge: Judge
    points: Tensor
    gaps: Tensor
    done: Tensor

    @property
    def left(self) -> Tensor:
        """Positions of the samples that are not done."""
        return (~self.done).nonzero().flatten()

    def note(self, rows: Tensor, points: Tensor, logits: Tensor) -> Tensor:
        """Look at some queries and what the model answered.

        Args:
            rows: ``(T,)`` positions of the samples, which may occur several times.
            points: ``(T, *shape)`` inside ball and box up to rounding.
            logits: ``(T, K)``.

        Returns:
            ``(T,)`` float64 margins; infinite where a logit is not finite.
        """
        gaps = finite_margins(logits, self.target.labels[rows])
        self._keep(rows, points, gaps)
        hits = ((gaps < 0.0) & ~self.done[rows]).nonzero().flatten()
        if len(hits):
            self._close(rows[hits], points[hits])
        return gaps

    def _keep(self, rows: Tensor, points: Tensor, gaps: Tensor) -> None:
        least = torch.full_like(self.gaps, math.inf)
        least = least.scatter_reduce(0, rows, gaps, "amin")
        better = (gaps == least[rows]) & (gaps < self.gaps[rows])
        kept = rows[better]
        self.points[kept], self.gaps[kept] = points[better], gaps[better]

    def _close(self, rows: Tensor, points: Tensor) -> None:
        task = self.target.subset(rows)
        stored = settle(points, task.inputs, task.threat, task.model.dtype)
        caught = self.judge(task.model, stored, task.labels)
        closed = rows[caught]
        self.points[closed] = stored[caught].to(self.points.dtype)
        self.gaps[closed] = -math.inf
        self.done[closed] = True


def finds_of(target: Target, judge: Judge) -> Finds:
    """Nothing found yet: the samples themselves, in float32 at least."""
    count, device = len(target.inputs), target.inputs.device
    wide = torch.promote_types(target.model.dtype, torch.float32)
    return Finds(
        target,
        judge,
        target.inputs.to(wide).clone(),
        torch.full((count,), math.inf, dtype=torch.float64, device=device),
        torch.zeros(count, dtype=torch.bool, device=device),
    )


def finite_margins(logits: Tensor, labels: Tensor) -> Tensor:
    """``(N,)`` float64 margins; infinite where a logit is not finite."""
    wide = logits.detach().double()
    return margins(wide, labels).where(wide.isfinite().all(dim=1), math.inf)
