"""Points of a given activation pattern, in the box where they can be found there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.lipschitz.lower.hidden_layer import HiddenLayer
from robustcert.results.threat_model import Box

_PROJECTIONS = 300
_OVER = 1.5  # over-relaxation: projections then end inside, not on the border


@dataclass(frozen=True, slots=True, eq=False)
class Realiser:
    """Solves for inputs of one hidden layer.

    Attributes:
        layer: the hidden layer.
        inverse: ``(n, m)``, right inverse of the layer's inner matrix.
        margin: how far from their kinks units are put, in units of their argument.
    """

    layer: HiddenLayer
    inverse: Tensor
    margin: float

    def anywhere(self, pattern: Tensor, near: Tensor) -> Tensor:
        """The point ``(n,)`` nearest to ``near`` where each unit is at its margin.

        Units that are on their piece already stay where they are.
        """
        return near + self.inverse @ self._lacking(pattern, near)

    def in_box(self, pattern: Tensor, near: Tensor, box: Box) -> Tensor:
        """A point of the box, as close to the pattern as alternating projections get.

        Reference:
            Agmon. The relaxation method for linear inequalities. 1954.
        """
        point = near.clamp(box.low, box.high)
        for _ in range(_PROJECTIONS):
            lacking = self._lacking(pattern, point)
            if not bool(lacking.any()):
                break
            point = point + _OVER * (self.inverse @ lacking)
            point = point.clamp(box.low, box.high)
        return point

    def _lacking(self, pattern: Tensor, point: Tensor) -> Tensor:
        """What each unit's argument lacks to be on its piece by the margin."""
        arguments = self.layer.inner @ point + self.layer.bias
        sign = torch.where(pattern, 1.0, -1.0).to(arguments)
        return sign * (self.margin - sign * arguments).clamp(min=0.0)


def realiser(layer: HiddenLayer, points: Tensor) -> Realiser:
    """For the layer, the margin being a hundredth of its arguments at ``(N, n)``."""
    arguments = points @ layer.inner.T + layer.bias
    typical = float(arguments.square().mean().sqrt()) or 1.0
    inverse = torch.linalg.pinv(layer.inner)
    return Realiser(layer, inverse, 1e-2 * typical)
