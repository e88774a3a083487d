"""What is proved about each input."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass


class Verdict(enum.Enum):
    """What is known about one sample at one epsilon; undecided is a value."""

    CERTIFIED = "certified"
    BROKEN = "broken"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Certificate:
    """No input of the box within ``radius`` of the sample changes the class.

    Attributes:
        index: position in the sample set.
        radius: in input units and the threat model's norm, >= 0, finite.
        method: name of the certifier in the registry.
    """

    index: int
    radius: float
    method: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.radius) and self.radius >= 0.0):
            raise ValueError(f"a certified radius is finite and >= 0: {self.radius}")
