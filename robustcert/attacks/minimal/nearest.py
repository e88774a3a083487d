"""The smallest adversarial iterate of each sample, as a search goes along."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.attacks.interface import Target
from robustcert.results.norm import Norm
from robustcert.results.threat_model import Box
from robustcert.tensors import clip_to_box, lp_norms, margins, rows_like

_PROGRESS = 1e-3
"""A find smaller by less than this part is no progress."""

_STRETCHES = (1.001, 1.01, 1.1)

_ROUNDINGS = 8.0
"""By how many roundings of the largest logit a margin is beyond doubt."""

_LEFT = 2**31
"""Waits of a row that has left: beyond any patience."""


@dataclass(slots=True, eq=False)
class Nearest:
    """What a search for small perturbations has seen of N samples.

    Attributes:
        origins: ``(N, *shape)`` the samples, in the dtype the search computes in.
        labels: ``(N,)`` int64.
        norm: in which perturbations are small.
        box: the valid input range.
        dtype: the model's: iterates are judged as it would store them.
        points: ``(N, *shape)`` the nearest adversarial iterates; where there is none,
            those with the smallest margin.
        distances: ``(N,)`` of the former; infinite where there is none.
        margins: ``(N,)`` smallest so far.
        waits: ``(N,)`` iterates since the last progress, 0 before the first find.
    """

    origins: Tensor
    labels: Tensor
    norm: Norm
    box: Box
    dtype: torch.dtype
    points: Tensor
    distances: Tensor
    margins: Tensor
    waits: Tensor

    def stored(self, points: Tensor) -> Tensor:
        """The points of the box near ``points`` that the model's dtype can store."""
        inside = clip_to_box(points, self.box)
        return clip_to_box(inside.to(self.dtype), self.box).to(points.dtype)

    def note(self, rows: Tensor, points: Tensor, logits: Tensor) -> Tensor:
        """Take an iterate of each of ``rows`` into account.

        Args:
            rows: ``(M,)`` positions, each once.
            points: ``(M, *shape)``, stored.
            logits: ``(M, K)`` of the model there.

        Returns:
            ``(M,)`` bool, whether they are adversarial.
        """
        wide = logits.double()
        gaps = margins(wide, self.labels[rows])
        gaps = gaps.where(wide.isfinite().all(dim=1), math.inf)
        broken = gaps < 0.0
        sizes = lp_norms(points - self.origins[rows], self.norm)
        held = self.distances[rows]
        lower = held.isinf() & (gaps < self.margins[rows])
        better = (sizes < held).where(broken, lower)
        progress = broken & (sizes < held * (1.0 - _PROGRESS))
        self.waits[rows] = (self.waits[rows] + 1) * ~(progress | held.isinf())
        kept = rows[better]
        self.points[kept] = points[better]
        self.margins[kept] = gaps[better]
        self.distances[kept] = sizes[better].where(broken[better], math.inf)
        return broken

    def restless(self, rows: Tensor, patience: int) -> Tensor:
        """``(M,)`` bool: nothing is found, or progress was made within ``patience``."""
        return self.waits[rows] < patience

    def retire(self, rows: Tensor) -> None:
        """Make ``rows`` (positions or a mask) leave the search."""
        self.waits[rows] = _LEFT


def nearest_of(target: Target) -> Nearest:
    """A search that has seen nothing, in float32 at least."""
    dtype = torch.promote_types(target.model.dtype, torch.float32)
    origins = target.inputs.to(dtype)
    unseen = torch.full((len(origins),), math.inf, dtype=dtype, device=origins.device)
    return Nearest(
        origins,
        target.labels,
        target.threat.norm,
        target.threat.box,
        target.model.dtype,
        origins.clone(),
        unseen,
        unseen.double(),
        torch.zeros_like(target.labels),
    )


def resized(vectors: Tensor, norm: Norm, sizes: Tensor) -> Tensor:
    """The rows' directions with norms ``sizes`` ``(N,)``; 0 stays 0."""
    lengths = lp_norms(vectors, norm).clamp(min=torch.finfo(vectors.dtype).tiny)
    return vectors * rows_like(sizes / lengths, vectors)


def firm(target: Target, points: Tensor) -> Tensor:
    """``points``, a little farther from their samples where rounding decides.

    A find may lie so close to the boundary that it is adversarial in one batch and not
    in another. Bisection towards the sample takes back what is too much.
    """
    model, box = target.model, target.threat.box
    origins, result = target.inputs.to(points.dtype), points
    doubtful = torch.ones_like(target.labels, dtype=torch.bool)
    for stretch in _STRETCHES:
        farther = clip_to_box(origins + stretch * (points - origins), box)
        with torch.no_grad():
            logits = model.logits(farther).double()
        gaps = margins(logits, target.labels)
        result = farther.where(rows_like(doubtful & (gaps < 0.0), points), result)
        noise = _ROUNDINGS * torch.finfo(model.dtype).eps * logits.abs().amax(dim=1)
        doubtful &= ~(gaps < -noise)
    return result
