"""One run of a row: its samples, and the best iterate of each by the model's margin."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustcert.attacks.interface import Target
from robustcert.attacks.verify import judged_margins, settle
from robustcert.tensors import margins


class Hunt:
    """What is known of N samples; grows as points are shown to the model.

    Args:
        target: the samples, N >= 1.

    Attributes:
        target: as given.
        generator: of every random step, seeded by the target.
        clean: ``(N, K)`` logits of the samples themselves.
        points: ``(N, *shape)``, the model's dtype or float32 where that is coarser:
            the point of smallest margin, an adversarial example once there is one.
        margins: ``(N,)`` float64 at those points; not below 0 while a sample is open.
        broken: ``(N,)`` bool: fooled inside ball and box, by the very bits that the
            model's dtype can store.
    """

    def __init__(self, target: Target) -> None:
        device = target.inputs.device
        self.target = target
        self.generator = torch.Generator(device).manual_seed(target.seed)
        # Small steps must count even where the model's own dtype cannot hold them.
        working = torch.promote_types(target.model.dtype, torch.float32)
        self.points = target.inputs.to(working, copy=True)
        self.margins = torch.full(
            (len(self.points),), math.inf, dtype=torch.float64, device=device
        )
        self.broken = torch.zeros(len(self.points), dtype=torch.bool, device=device)
        with torch.no_grad():
            self.clean = target.model.logits(target.inputs)
        self.note(self.open, self.points, self.clean)

    @property
    def open(self) -> Tensor:
        """Positions of the samples that nothing broke."""
        return (~self.broken).nonzero().flatten()

    def judge(self, rows: Tensor, points: Tensor) -> Tensor:
        """Show points to the model; otherwise as :meth:`note`."""
        with torch.no_grad():
            return self.note(rows, points, self.target.model.logits(points))

    def note(self, rows: Tensor, points: Tensor, logits: Tensor) -> Tensor:
        """Keep the best of what was seen.

        Args:
            rows: ``(A,)`` open samples, A >= 1.
            points: ``(L * A, *shape)``, lane by lane.
            logits: ``(L * A, K)``, the model's.

        Returns:
            ``(A,)`` bool: which of the samples are broken now.
        """
        lanes = len(points) // len(rows)
        labels = self.target.labels[rows].repeat(lanes)
        gaps = margins(logits.double(), labels).nan_to_num(nan=math.inf)
        lowest, lane = gaps.reshape(lanes, -1).min(dim=0)
        better = ((lowest < self.margins[rows]) | (lowest < 0.0)).nonzero().flatten()
        where = rows[better]
        self.points[where] = points[lane[better] * len(rows) + better]
        self.margins[where] = lowest[better].clamp(min=0.0)
        self._confirm(rows[lowest < 0.0])
        return self.broken[rows]

    def _confirm(self, rows: Tensor) -> None:
        """Mark what still fools the model once it is stored as verification stores."""
        if not len(rows):
            return
        task = self.target.subset(rows)
        stored = settle(self.points[rows], task.inputs, task.threat, task.model.dtype)
        gaps = judged_margins(task.model, stored, task.labels)
        fooled = gaps < 0.0
        self.points[rows[fooled]] = stored[fooled].to(self.points)
        self.margins[rows[fooled]] = gaps[fooled]
        self.broken[rows[fooled]] = True
