"""Exact confidence intervals for shares."""

from __future__ import annotations

import math

Interval = tuple[float, float]

CONFIDENCE = 0.95
_HALVINGS = 60
_TERMS = 100_000
_TINY = 1e-300
_UNIT = 1e12


def share_interval(hits: int, count: int, confidence: float = CONFIDENCE) -> Interval:
    """Clopper-Pearson interval of a share: ``hits`` out of ``count`` draws.

    Written with the standard library, because results load neither torch nor scipy.
    Both ends are rounded outwards to 12 decimals, so that documents do not depend on
    the last digit of a machine's mathematics library.

    Args:
        hits: between 0 and ``count``.
        count: at least 1.
        confidence: coverage, in (0, 1).

    Returns:
        ``(low, high)``, shares in [0, 1].

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Clopper, Pearson. The use of confidence or fiducial limits illustrated in the
        case of the binomial. Biometrika 1934.
    """
    if not 0 <= hits <= count or count < 1:
        raise ValueError(f"{hits} hits among {count} draws have no share")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"a confidence lies between 0 and 1: {confidence}")
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if hits == 0 else _solve(hits, count, tail)
    high = 1.0 if hits == count else 1.0 - _solve(count - hits, count, tail)
    return math.floor(low * _UNIT) / _UNIT, math.ceil(high * _UNIT) / _UNIT


def _solve(hits: int, count: int, tail: float) -> float:
    """The share at which ``hits`` or more draws have probability ``tail``.

    It lies below ``hits / count``, where that probability is at least one half.
    """
    low, high = 0.0, hits / count
    for _ in range(_HALVINGS):
        share = (low + high) / 2.0
        if _at_least(hits, count, share) > tail:
            high = share
        else:
            low = share
    return low


def _at_least(hits: int, count: int, share: float) -> float:
    """Probability of ``hits`` or more among ``count`` draws that hit with ``share``.

    It is the regularised incomplete beta function I_share(hits, count - hits + 1); its
    continued fraction converges fast because the share is at most ``hits / count``.
    """
    if share <= 0.0:
        return 0.0
    a, b = float(hits), float(count - hits + 1)
    log_front = (
        math.lgamma(a + b)
        - math.lgamma(a)
        - math.lgamma(b)
        + a * math.log(share)
        + b * math.log1p(-share)
    )
    return math.exp(log_front) * _beta_fraction(a, b, share) / a


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method.

    Reference:
        NIST Digital Library of Mathematical Functions, 8.17.22.
    """
    c, d = 1.0, _inverse(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        for term in (even, odd):
            d = _inverse(1.0 + term * d)
            c = 1.0 + term / c or _TINY
            step = c * d
            value *= step
        if abs(step - 1.0) < 1e-15:
            return value
    raise ArithmeticError(f"no interval for a = {a}, b = {b}: the fraction diverges")


def _inverse(value: float) -> float:
    return 1.0 / (value or _TINY)
