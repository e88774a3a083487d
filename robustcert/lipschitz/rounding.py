"""Float64 arithmetic that never rounds a bound towards the unsafe side."""

from __future__ import annotations

import math

UNIT = 2.0**-53
"""Unit roundoff of float64: one operation errs by at most this factor."""

_LARGEST_EXPONENT = 1023
_SMALLEST = 5e-324


def gamma(operations: int, unit: float = UNIT) -> float:
    """Relative error of ``operations`` roundings in a row, rounded up.

    Reference:
        Higham. Accuracy and Stability of Numerical Algorithms. 2002, Lemma 3.1.
    """
    product = operations * unit
    return up(product / (1.0 - product))


def up(value: float) -> float:
    """The next float above a computed value; 0 is taken to be exact."""
    return value if value == 0.0 else math.nextafter(value, math.inf)


def product_up(left: float, right: float) -> float:
    """Upper bound of ``left * right``, both >= 0; 0 and 1 are exact, even by inf."""
    if left == 0.0 or right == 0.0:
        return 0.0
    if left == 1.0 or right == 1.0:
        return left * right
    return math.nextafter(left * right, math.inf)


def sum_up(left: float, right: float) -> float:
    """Upper bound of ``left + right``, both >= 0."""
    if left == 0.0 or right == 0.0:
        return left + right
    return up(left + right)


def power_up(value: float, exponent: int) -> float:
    """Upper bound of ``value * 2**exponent``, value >= 0; infinite past all floats."""
    if value == 0.0 or math.isinf(value):
        return value
    if math.frexp(value)[1] + exponent > _LARGEST_EXPONENT:
        return math.inf
    return up(math.ldexp(value, exponent)) or _SMALLEST


def root_up(count: int) -> float:
    """Upper bound of the root of a whole number; exact for squares."""
    whole = math.isqrt(count)
    return float(whole) if whole * whole == count else up(math.sqrt(count))


def hypotenuse_up(left: float, right: float) -> float:
    """Upper bound of ``sqrt(left^2 + right^2)``, both >= 0."""
    if left == 0.0 or right == 0.0:
        return left + right
    return up(up(math.hypot(left, right)))
