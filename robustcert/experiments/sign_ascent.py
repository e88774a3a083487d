"""The attack of the paper: steps along the sign of the gradient, back into an L2 ball.

It is here for comparison with published numbers and for nothing else. A sign is no
steepest direction in L2, and one loss without restarts misses what others find: its
accuracy is far above the truth for some models, and never what robustness is read off.

References:
    Bungert et al. CLIP: Cheap Lipschitz Training of Neural Networks. SSVM 2021,
        section 4.2.
    Madry et al. Towards Deep Learning Models Resistant to Adversarial Attacks. ICLR
        2018 (projected gradient descent).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustcert.results.threat_model import ThreatModel
from robustcert.tensors import project
from robustcert.train.interface import Batch

CHUNK = 1000


@dataclass(frozen=True, slots=True)
class SignAscent:
    """How the ascent goes.

    Attributes:
        threat: ball and box.
        step: of each coordinate, in input units.
        steps: of each sample that is not broken before.
    """

    threat: ThreatModel
    step: float
    steps: int

    def accuracy(self, model: nn.Module, batch: Batch) -> float:
        """Share right at the samples and at every iterate.

        Args:
            model: maps ``(B, *shape)`` to logits; its parameters get no gradient.
            batch: labelled, inside the box.
        """
        right = sum(
            self._survivors(model, Batch(inputs, targets))
            for inputs, targets in zip(
                torch.split(batch.inputs, CHUNK),
                torch.split(batch.targets, CHUNK),
                strict=True,
            )
        )
        return right / len(batch)

    def _survivors(self, model: nn.Module, batch: Batch) -> int:
        """How many of B samples stay right; the broken ones leave at once."""
        centres, labels = batch.inputs, batch.targets
        points = centres
        for _ in range(self.steps):
            gradient, right = _ascent(model, points, labels)
            centres, labels = centres[right], labels[right]
            moved = points[right] + self.step * gradient[right].sign()
            if not len(labels):
                return 0
            points = project(moved, centres, self.threat)
        with torch.no_grad():
            last: Tensor = model(points).argmax(dim=1) == labels
        return int(last.sum())


def _ascent(model: nn.Module, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of the cross-entropy by the inputs, and where the model is right."""
    leaves = points.detach().requires_grad_()
    logits = model(leaves)
    loss = F.cross_entropy(logits, labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, leaves)
    return gradient, logits.detach().argmax(dim=1) == labels
