"""What every corruption can do, and how inputs of any box become the unit box's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Generator, Tensor

from robustcert.errors import UsageError
from robustcert.results.threat_model import Box
from robustcert.tensors import clip_to_box

SEVERITIES = (1, 2, 3, 4, 5)

PICTURE_DIMENSIONS = 3
"""A picture is (channels, height, width), however many channels."""


Strengths = tuple[float, float, float, float, float]
"""What the severities 1 to 5 stand for, mildest first."""

Distortion = Callable[[Tensor, float, Generator], Tensor]
"""The formula of one corruption.

Takes inputs ``(N, *shape)`` in [0, 1], one of the five strengths, and a generator on
the CPU, the only source of randomness. Gives ``(N, *shape)``, which may leave [0, 1];
each row depends on its own input alone.
"""


@dataclass(frozen=True, slots=True)
class Corruption:
    """One row of the registry.

    Attributes:
        name: in the registry and in reports.
        distortion: the formula.
        strengths: one for each severity.
        pictures_only: whether it needs rows and columns.
    """

    name: str
    distortion: Distortion
    strengths: Strengths
    pictures_only: bool = False

    def refusal(self, shape: tuple[int, ...]) -> str | None:
        """Why inputs of this shape cannot be corrupted, ``None`` where they can."""
        if self.pictures_only and len(shape) != PICTURE_DIMENSIONS:
            return "it needs pictures of shape (channels, height, width)"
        return None

    def apply(
        self, inputs: Tensor, severity: int, box: Box, generator: Generator
    ) -> Tensor:
        """Inputs as they look after this corruption.

        Args:
            inputs: ``(N, *shape)`` floating point, in ``box``.
            severity: 1 to 5.
            box: the valid input range; it is scaled to [0, 1] and back.
            generator: on the CPU.

        Returns:
            ``(N, *shape)`` in ``box``, in the inputs' dtype and on their device.

        Raises:
            UsageError: there is no such severity, or the shape is refused.
        """
        reason = self.refusal(tuple(inputs.shape[1:]))
        if reason is not None:
            raise UsageError(f"{self.name}: {reason}")
        if severity not in SEVERITIES:
            raise UsageError(
                f"{self.name} has no severity {severity}", remedy="Ask for 1 to 5."
            )
        if box.width == 0.0 or not inputs.numel():
            return inputs.clone()
        unit = (inputs - box.low) / box.width
        strength = self.strengths[severity - 1]
        corrupted = self.distortion(unit, strength, generator).clamp(0.0, 1.0)
        return clip_to_box(box.low + box.width * corrupted, box)
