"""The inner maximisation of adversarial training: projected ascent inside ball and box.

Reference:
    Madry, Makelov, Schmidt, Tsipras, Vladu. Towards Deep Learning Models Resistant to
        Adversarial Attacks. ICLR 2018, section 2.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustcert.attacks.slope import slope
from robustcert.errors import UsageError
from robustcert.results.norm import Norm
from robustcert.results.threat_model import ThreatModel
from robustcert.tensors import project, rows_like, steepest_unit


@dataclass(frozen=True, slots=True)
class Climb:
    """How far and how an input is moved.

    Attributes:
        threat: norm, epsilon and box.
        steps: of equal length, >= 0.
        reach: length of all steps together, in epsilons. Above 1, so that a wrong
            start can be left behind.
    """

    threat: ThreatModel
    steps: int
    reach: float

    def __post_init__(self) -> None:
        if self.steps < 0 or not self.reach > 0.0:
            raise UsageError(
                f"{self.steps} steps of {self.reach} epsilons lead nowhere",
                remedy="Give at least 0 steps and a reach above 0.",
            )

    @property
    def stride(self) -> float:
        """Length of one step, in input units."""
        return self.reach * self.threat.epsilon / max(1, self.steps)

    def __call__(
        self,
        model: nn.Module,
        inputs: Tensor,
        starts: Tensor,
        loss: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Where the ascent ends: ``(B, *shape)``, detached, in ball and box.

        Gradients of parameters are not touched. On a linear model two classes apart
        the end is the worst input, once the steps reach it.

        Args:
            model: each row depends on its own input alone.
            inputs: ``(B, *shape)``, in the box.
            starts: ``(B, *shape)``, anywhere.
            loss: ``(B,)`` from logits ``(B, K)``.
        """
        points = project(starts, inputs, self.threat)
        for _ in range(self.steps):
            uphill = slope(model, points, loss).gradients
            moved = points + self.stride * steepest_unit(uphill, self.threat.norm)
            points = project(moved, inputs, self.threat)
        return points


def anywhere(inputs: Tensor, threat: ThreatModel, generator: torch.Generator) -> Tensor:
    """Random points of the ball around each input, ``(B, *shape)``.

    Uniform for L-infinity; for L2 in a uniform direction at a uniform distance.

    Args:
        inputs: ``(B, *shape)``.
        threat: norm and epsilon; the box is left to the projection.
        generator: on the CPU, so that every device gets the same points.
    """
    if threat.norm is Norm.LINF:
        offsets = torch.rand(inputs.shape, generator=generator) * 2.0 - 1.0
    else:
        directions = torch.randn(inputs.shape, generator=generator)
        lengths = torch.rand(len(inputs), generator=generator)
        units = steepest_unit(directions, threat.norm)
        offsets = units * rows_like(lengths, units)
    return inputs + threat.epsilon * offsets.to(inputs)
