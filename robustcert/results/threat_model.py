"""What an adversary may do: a norm, a radius, and the box inputs live in."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from robustcert.errors import InvalidThreatModelError
from robustcert.results.norm import THREAT_NORMS, Norm


@dataclass(frozen=True, slots=True)
class Box:
    """The valid input range, the same for every coordinate."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise InvalidThreatModelError(
                f"the box [{self.low}, {self.high}] is not finite"
            )
        if self.low > self.high:
            raise InvalidThreatModelError(
                f"the box [{self.low}, {self.high}] is empty: low > high"
            )

    @property
    def width(self) -> float:
        """``high - low``, in input units."""
        return self.high - self.low


UNIT_BOX = Box(0.0, 1.0)


@dataclass(frozen=True, slots=True)
class ThreatModel:
    """All perturbations of norm at most ``epsilon`` that stay in ``box``."""

    norm: Norm
    epsilon: float
    box: Box = UNIT_BOX

    def __post_init__(self) -> None:
        if self.norm not in THREAT_NORMS:
            raise InvalidThreatModelError(f"{self.norm.word} is no threat norm")
        if not (math.isfinite(self.epsilon) and self.epsilon >= 0.0):
            raise InvalidThreatModelError(
                f"epsilon is {self.epsilon}, not a finite number of at least 0"
            )


@dataclass(frozen=True, slots=True)
class ThreatSweep:
    """One norm and box at several radii, each once, in ascending order."""

    norm: Norm
    epsilons: tuple[float, ...]
    box: Box = UNIT_BOX

    def __post_init__(self) -> None:
        if not self.epsilons:
            raise InvalidThreatModelError("no epsilon is given")
        for epsilon in self.epsilons:
            ThreatModel(self.norm, epsilon, self.box)
        object.__setattr__(self, "epsilons", tuple(sorted(set(self.epsilons))))

    def __iter__(self) -> Iterator[ThreatModel]:
        return (ThreatModel(self.norm, e, self.box) for e in self.epsilons)

    @property
    def largest(self) -> ThreatModel:
        """The threat model at the largest radius."""
        return ThreatModel(self.norm, self.epsilons[-1], self.box)
