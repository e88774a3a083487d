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


@dataclass(frozen=True, slots=True)
class CertifierRun:
    """The cost and the yield of one certifier in one evaluation.

    Attributes:
        name: the certifier's name in the registry.
        samples: samples that it was shown.
        balls: balls around them that it judged.
        proved: those in which it proved that the class does not change.
        broken: samples that it was the first to break, by inputs that were verified.
        unverified: inputs it suspected and verification threw out.
        seconds: wall-clock time, without what depends on the model alone.
    """

    name: str
    samples: int
    balls: int
    proved: int
    broken: int
    unverified: int
    seconds: float

    def __add__(self, other: CertifierRun) -> CertifierRun:
        """Both runs of one certifier, on different samples."""
        return CertifierRun(
            self.name,
            self.samples + other.samples,
            self.balls + other.balls,
            self.proved + other.proved,
            self.broken + other.broken,
            self.unverified + other.unverified,
            self.seconds + other.seconds,
        )
