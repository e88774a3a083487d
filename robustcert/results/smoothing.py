"""What randomized smoothing says, about the smoothed model alone; torch-free.

The smoothed model answers with the class that the base model, the one in the file,
gives most often when Gaussian noise is added to its input. Nothing here is about the
base model, and no certificate of the base model is about the smoothed one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from robustcert.errors import UsageError
from robustcert.results.interval import Interval, share_interval

LEAST_ALPHA = 1e-9
"""Below it, float64 has too few digits left for ``1 - alpha``."""

DRAWS = 10_000
"""Draws that count, unless told otherwise."""

_SPARED = 1e-6
"""Share of alpha that is kept for the rounding of the interval's own arithmetic."""

_DOWN = 1.0 - 1e-12


@dataclass(frozen=True, slots=True)
class SmoothingPlan:
    """How a model is smoothed, and how often it is asked.

    Attributes:
        sigma: standard deviation of the noise, in input units, above 0.
        selection: draws that choose the class, at least 1 (n0 in the paper).
        draws: other draws that count how often it is given, at least 1 (n).
        alpha: probability, at most, that a sample's radius is wrong.
        seed: of the noise, at least 0.
    """

    sigma: float
    selection: int = 100
    draws: int = DRAWS
    alpha: float = 0.001
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sigma) and self.sigma > 0.0):
            raise UsageError(
                f"the noise has a standard deviation of {self.sigma}",
                remedy="Give a finite --sigma above 0, in input units.",
            )
        if self.selection < 1 or self.draws < 1:
            raise UsageError(
                f"{self.selection} and {self.draws} draws decide nothing",
                remedy="Give --n0 and --n of at least 1.",
            )
        if not LEAST_ALPHA <= self.alpha < 0.5:
            raise UsageError(
                f"a failure probability of {self.alpha} is out of range",
                remedy=f"Give an --alpha of at least {LEAST_ALPHA} and below 0.5.",
            )
        if self.seed < 0:
            raise UsageError(f"the seed is {self.seed}", remedy="Give one from 0 on.")

    def radius(self, hits: int) -> float:
        r"""The certified radius in L2 after ``hits`` of the draws gave the class.

        :math:`\sigma \Phi^{-1}(p)` with p the Clopper-Pearson lower bound of the
        class's probability, rounded down; 0 where p is at most one half. With
        probability ``1 - alpha`` the smoothed model gives this class at every input
        nearer than that. The inputs may lie outside any box.

        Args:
            hits: between 0 and ``draws``.

        Reference:
            Cohen, Rosenfeld, Kolter. Certified Adversarial Robustness via Randomized
            Smoothing. ICML 2019, Theorem 1 and Proposition 2.
        """
        share = lower_share(hits, self.draws, self.alpha)
        if share <= 0.5:
            return 0.0
        return self.sigma * NormalDist().inv_cdf(share) * _DOWN

    @property
    def largest_radius(self) -> float:
        """The radius of a class that every draw gives: no sample can have more."""
        return self.radius(self.draws)


def smoothing_asked(sigma: float | None, draws: int, seed: int) -> SmoothingPlan | None:
    """The plan of an evaluation that may be told to smooth; ``None`` where it is not.

    Raises:
        UsageError: sigma or draws are out of range.
    """
    return None if sigma is None else SmoothingPlan(sigma, draws=draws, seed=seed)


def lower_share(hits: int, count: int, alpha: float) -> float:
    """One-sided Clopper-Pearson bound: above the true share with probability alpha.

    Args:
        hits: between 0 and ``count``.
        count: of draws, at least 1.
        alpha: from :data:`LEAST_ALPHA` up to one half.
    """
    return share_interval(hits, count, 1.0 - 2.0 * alpha * (1.0 - _SPARED))[0]


@dataclass(frozen=True, slots=True)
class SmoothedSample:
    """What the smoothed model does around one sample.

    Attributes:
        index: position in the sample set.
        label: the right class.
        candidate: the class given most often while choosing; ``None`` where no output
            was finite.
        hits: how many of the counted draws gave it.
        radius: certified for the candidate, in L2 and input units, with failure
            probability ``alpha``; 0 means that the smoothed model abstains.
    """

    index: int
    label: int
    candidate: int | None
    hits: int
    radius: float

    @property
    def abstained(self) -> bool:
        """Whether the draws do not tell which class the smoothed model gives."""
        return self.radius <= 0.0

    @property
    def right(self) -> bool:
        """Whether the smoothed model gives the label, as far as the draws can tell."""
        return not self.abstained and self.candidate == self.label

    def holds(self, epsilon: float) -> bool:
        """Whether it gives the label at every input within ``epsilon``."""
        return self.right and self.radius > epsilon


def smoothed_sample(
    plan: SmoothingPlan, index: int, label: int, candidate: int | None, hits: int
) -> SmoothedSample:
    """The sample with the radius that follows from its hits."""
    radius = 0.0 if candidate is None else plan.radius(hits)
    return SmoothedSample(index, label, candidate, hits, radius)


@dataclass(frozen=True, slots=True)
class SmoothingTable:
    """Smoothed predictions and radii on one sample set.

    Attributes:
        plan: what they were found with.
        rows: one a sample, at least one.
    """

    plan: SmoothingPlan
    rows: tuple[SmoothedSample, ...]

    def __post_init__(self) -> None:
        if not self.rows:
            raise ValueError("a table needs samples")
        for row in self.rows:
            if row != smoothed_sample(
                self.plan, row.index, row.label, row.candidate, row.hits
            ):
                raise ValueError(f"sample {row.index}: its hits give another radius")

    @property
    def failure_probability(self) -> float:
        """That any radius of the table is wrong, at most: alpha times the samples.

        A union bound (Bonferroni), whatever the samples have in common. A table that is
        to fail with probability b as a whole takes ``alpha = b / N``.
        """
        return min(1.0, self.plan.alpha * len(self.rows))

    @property
    def abstained(self) -> float:
        """Share of the samples on which the smoothed model abstains."""
        return sum(row.abstained for row in self.rows) / len(self.rows)

    def held(self, epsilon: float) -> int:
        """Number of samples whose label holds within ``epsilon``; at 0, at all."""
        return sum(row.holds(epsilon) for row in self.rows)

    def certified_accuracy(self, epsilon: float) -> float:
        """Share of the samples whose label holds within ``epsilon``.

        At 0 it is the smoothed model's accuracy, abstentions counted as wrong.
        """
        return self.held(epsilon) / len(self.rows)

    def interval(self, epsilon: float) -> Interval:
        """95 % Clopper-Pearson: what the share says about new samples."""
        return share_interval(self.held(epsilon), len(self.rows))

    @property
    def usual_epsilons(self) -> tuple[float, ...]:
        """0 and every half sigma, as far as the draws can certify."""
        half = self.plan.sigma / 2.0
        steps = math.ceil(self.plan.largest_radius / half)
        return tuple(step * half for step in range(max(1, steps)))
