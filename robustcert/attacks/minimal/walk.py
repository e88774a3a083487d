"""The loop that all minimal attacks share: look, judge, and move on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.attacks.interface import Target
from robustcert.attacks.minimal.nearest import Nearest
from robustcert.attacks.minimal.sight import OWN_SIGHT, Sight
from robustcert.results.norm import Norm
from robustcert.results.threat_model import Box
from robustcert.tensors import lp_norms, steepest_unit

_HOPE = 20
"""Looks after which a row without a find is put elsewhere in the box, each time."""


@dataclass(frozen=True, slots=True)
class Route:
    """How a search goes.

    Attributes:
        steps: gradients of each row, at most.
        patience: steps without progress after which a row leaves.
        sight: whose gradients are followed.
    """

    steps: int
    patience: int
    sight: Sight = OWN_SIGHT


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """What is known at the points of M rows.

    Attributes:
        rows: ``(M,)`` positions among the samples.
        origins: ``(M, *shape)`` the samples.
        points: ``(M, *shape)`` where the rows are.
        losses: ``(M,)`` there; 0 where they are not finite.
        gradients: ``(M, *shape)`` of the losses.
        free: ``(M, *shape)`` the gradients without what leads out of the box.
        directions: ``(M, *shape)`` units of steepest ascent of the free part; random
            where that is 0.
        broken: ``(M,)`` bool, whether the points are adversarial.
        share: of the walk that lies behind, in [0, 1].
    """

    rows: Tensor
    origins: Tensor
    points: Tensor
    losses: Tensor
    gradients: Tensor
    free: Tensor
    directions: Tensor
    broken: Tensor
    share: float

    @property
    def flat(self) -> Tensor:
        """``(M,)`` bool, whether the gradient is 0."""
        return ~self.gradients.flatten(1).any(dim=1)

    def distances(self, norm: Norm) -> Tensor:
        """``(M,)`` to where the linearised loss is 0; infinite where it is flat.

        Faces that are not reached yet are ignored.
        """
        return self.losses.abs() / lp_norms(self.free, norm.dual)


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """A search over N rows.

    Attributes:
        target: the rows.
        nearest: what has been seen of them.
        route: how it goes.
        loss: ``(M,)`` from logits ``(M, K)`` and positions ``(M,)``.
    """

    target: Target
    nearest: Nearest
    route: Route
    loss: Callable[[Tensor, Tensor], Tensor]

    def run(self, start: Tensor, advance: Callable[[Visit], Tensor]) -> None:
        """Move all rows on, until they rest or time is over.

        Args:
            start: ``(N, *shape)``, inside the box or not.
            advance: ``(M, *shape)`` the next points, inside the box or not.
        """
        nearest, route = self.nearest, self.route
        generator = torch.Generator().manual_seed(self.target.seed)
        points = nearest.stored(start)
        rows = torch.arange(len(points), device=points.device)
        for step in range(route.steps):
            share = step / max(route.steps - 1, 1)
            visit = self._visit(rows, points, share, generator)
            ahead = nearest.stored(advance(visit))
            still = (ahead == points).flatten(1).all(dim=1)
            if step % _HOPE == _HOPE - 1:
                still = torch.ones_like(still)
            points = self._roused(rows, ahead, still, generator)
            active = nearest.restless(rows, route.patience)
            rows, points = rows[active], points[active]
            if not len(rows):
                return
        with torch.no_grad():
            nearest.note(rows, points, self.target.model.logits(points))

    def _roused(
        self, rows: Tensor, ahead: Tensor, still: Tensor, generator: torch.Generator
    ) -> Tensor:
        """``ahead``; anywhere in the box where a ``still`` row is without a find."""
        nearest, box = self.nearest, self.nearest.box
        still = still & nearest.distances[rows].isinf()
        if still.any():
            noise = torch.rand(ahead.shape, generator=generator, dtype=ahead.dtype)
            ahead[still] = box.low + box.width * noise.to(ahead.device)[still]
        return nearest.stored(ahead)

    def _visit(
        self, rows: Tensor, points: Tensor, share: float, generator: torch.Generator
    ) -> Visit:
        look = self.route.sight.look(
            self.target, points, lambda logits: self.loss(logits, rows), share
        )
        free = _free(points, look.gradients, self.nearest.box)
        return Visit(
            rows,
            self.nearest.origins[rows],
            points,
            look.losses.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0),
            look.gradients,
            free,
            _directions(free, self.nearest.norm, generator),
            self.nearest.note(rows, points, look.logits),
            share,
        )


def _free(points: Tensor, gradients: Tensor, box: Box) -> Tensor:
    """``gradients`` without the coordinates that stand at a face and would cross it."""
    out = (points <= box.low) & (gradients < 0.0)
    out |= (points >= box.high) & (gradients > 0.0)
    return gradients.where(~out, 0.0)


def _directions(gradients: Tensor, norm: Norm, generator: torch.Generator) -> Tensor:
    flat = ~gradients.flatten(1).any(dim=1)
    if flat.any():
        noise = torch.randn(gradients.shape, generator=generator, dtype=gradients.dtype)
        gradients = gradients.clone()
        gradients[flat] = noise.to(gradients.device)[flat]
    return steepest_unit(gradients, norm)
