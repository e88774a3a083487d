"""How steps shrink and how the twin sharpens."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Geometric:
    """From ``first`` to ``last`` by equal ratios; both above 0."""

    first: float
    last: float

    def over(self, steps: int) -> list[float]:
        """One value a step."""
        ratio = self.last / self.first
        return [self.first * ratio ** (i / max(1, steps - 1)) for i in range(steps)]


def shrinking(first: float, steps: int) -> list[float]:
    """Lengths that fall from ``first`` in equal parts; the one after the last is 0."""
    return [first * (1.0 - i / steps) for i in range(steps)]
