"""An interval for the mean of numbers between 0 and 1 that are not just 0 or 1."""

from __future__ import annotations

import math

from robustcert.results.interval import CONFIDENCE, Interval

_HALVINGS = 60
_UNIT = 1e12


def mean_interval(mean: float, count: int, confidence: float = CONFIDENCE) -> Interval:
    """Chernoff-Hoeffding interval of a mean: ``count`` independent draws in [0, 1].

    It holds whatever the draws' distribution on [0, 1] is, so it may be used where one
    draw is itself a mean over dependent parts, such as one sample's share of
    corruptions withstood. It is wider than :func:`~.interval.share_interval`, which
    holds for draws of 0 or 1 alone. Both ends are rounded outwards to 12 decimals.

    Args:
        mean: of the draws, in [0, 1].
        count: at least 1.
        confidence: coverage, in (0, 1).

    Returns:
        ``(low, high)`` in [0, 1]: the shares p with
        ``count * KL(mean, p) <= log(2 / (1 - confidence))``.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Hoeffding. Probability inequalities for sums of bounded random variables.
        Journal of the American Statistical Association 1963, Theorem 1, (2.1).
    """
    if not 0.0 <= mean <= 1.0 or count < 1:
        raise ValueError(f"{count} draws in [0, 1] have no mean of {mean}")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"a confidence lies between 0 and 1: {confidence}")
    reach = math.log(2.0 / (1.0 - confidence)) / count
    low = 1.0 - _furthest(1.0 - mean, reach)
    high = _furthest(mean, reach)
    return (
        max(0.0, math.floor(low * _UNIT) / _UNIT),
        min(1.0, math.ceil(high * _UNIT) / _UNIT),
    )


def _furthest(mean: float, reach: float) -> float:
    """The largest p in [mean, 1] with ``KL(mean, p) <= reach``, from above."""
    inside, outside = mean, 1.0
    if _divergence(mean, outside) <= reach:
        return outside
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2.0
        if _divergence(mean, middle) <= reach:
            inside = middle
        else:
            outside = middle
    return outside


def _divergence(mean: float, share: float) -> float:
    """Kullback-Leibler divergence of a coin of ``share`` from one of ``mean``."""
    hits = mean * math.log(mean / share) if mean > 0.0 else 0.0
    if mean == 1.0:
        return hits
    if share == 1.0:
        return math.inf
    return hits + (1.0 - mean) * math.log((1.0 - mean) / (1.0 - share))
