"""The robust accuracy of a random model: as many answers as there are draws."""

from __future__ import annotations

from dataclasses import dataclass

from robustcert.results.interval import Interval, share_interval


@dataclass(frozen=True, slots=True)
class Rescoring:
    """How many samples withstood, in each of several draws of the model's randomness.

    Attributes:
        standing: samples right both unperturbed and at their adversarial example, one
            count a draw, at least one.
        samples: how many there are, at least 1.
    """

    standing: tuple[int, ...]
    samples: int

    def __post_init__(self) -> None:
        if not self.standing or self.samples < 1:
            raise ValueError("a re-scoring has draws and samples")
        if not all(0 <= count <= self.samples for count in self.standing):
            raise ValueError(f"{self.standing} are no counts of {self.samples} samples")

    @property
    def robust(self) -> Interval:
        """Lowest and highest robust accuracy over the draws."""
        return min(self.standing) / self.samples, max(self.standing) / self.samples

    @property
    def interval(self) -> Interval:
        """The same about the distribution behind the samples.

        From the lower 95 % Clopper-Pearson limit of the lowest draw to the upper one of
        the highest.
        """
        low, _ = share_interval(min(self.standing), self.samples)
        _, high = share_interval(max(self.standing), self.samples)
        return low, high

    def __add__(self, other: Rescoring) -> Rescoring:
        """Of both sample sets together, draw by draw."""
        pairs = zip(self.standing, other.standing, strict=True)
        return Rescoring(
            tuple(one + two for one, two in pairs), self.samples + other.samples
        )
