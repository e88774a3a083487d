"""Whose gradients a search follows: the model's, or those of its smooth twin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from robustcert.attacks.interface import Target
from robustcert.attacks.slope import Slope, slope


class Sight(Protocol):
    """What a search sees at its points; the logits are always the model's own."""

    def look(
        self,
        target: Target,
        points: Tensor,
        loss: Callable[[Tensor], Tensor],
        share: float,
    ) -> Slope:
        """Logits, losses and gradients.

        Args:
            target: the task.
            points: ``(M, *shape)``.
            loss: ``(M,)`` from logits ``(M, K)``.
            share: of the search that lies behind, in [0, 1].
        """
        ...


@dataclass(frozen=True, slots=True)
class OwnSight:
    """The model's gradients."""

    def look(
        self,
        target: Target,
        points: Tensor,
        loss: Callable[[Tensor], Tensor],
        share: float,  # noqa: ARG002 - the protocol's
    ) -> Slope:
        """One forward and one backward pass of the model."""
        return slope(target.model.logits, points, loss)


OWN_SIGHT = OwnSight()


@dataclass(frozen=True, slots=True)
class TwinSight:
    """The twin's gradients, sharper and sharper; the model's where there is no twin.

    Attributes:
        first: sharpness of the first look.
        last: of the last one; each grows by the same ratio.
    """

    first: float
    last: float

    def look(
        self,
        target: Target,
        points: Tensor,
        loss: Callable[[Tensor], Tensor],
        share: float,
    ) -> Slope:
        """One forward pass of the model; one forward and one backward of the twin."""
        surrogate, model = target.surrogate, target.model
        if surrogate is None:
            return slope(model.logits, points, loss)
        sharpness = self.first * (self.last / self.first) ** share
        seen = slope(
            lambda x: surrogate.logits(x.to(model.dtype), sharpness), points, loss
        )
        with torch.no_grad():
            logits = model.logits(points)
        return replace(seen, logits=logits)
