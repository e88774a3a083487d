"""Numbers as they are shown, rounded towards safety.

What bounds the truth from below is rounded down, what bounds it from above is rounded
up, so a printed bracket still holds. Rounding starts from the shortest decimal that is
the float, so that 0.57 is shown as 57.0 % either way.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal

DIGITS = 4
_PERMILLE = Decimal("0.1")
_SPACE = "\N{NO-BREAK SPACE}"  # not the narrow one: Windows consoles lack it
_PLAIN = range(-4, 6)


def percent_down(share: float) -> str:
    """A lower bound of a share, such as a certified accuracy, as ``94.0 %``."""
    return _percent(share, ROUND_FLOOR)


def percent_up(share: float) -> str:
    """An upper bound of a share, such as a robust accuracy."""
    return _percent(share, ROUND_CEILING)


def percent(share: float) -> str:
    """A share that is known exactly, to the nearest tenth of a percent."""
    return _percent(share, ROUND_HALF_EVEN)


def _percent(share: float, rounding: str) -> str:
    hundreds = Decimal(repr(share)) * 100
    return f"{hundreds.quantize(_PERMILLE, rounding=rounding)}{_SPACE}%"


def percent_exact(share: float) -> str:
    """A given share, such as a threshold, unrounded: ``99.95 %``."""
    hundreds = (Decimal(repr(share)) * 100).normalize()
    return f"{hundreds:f}{_SPACE}%"


def number_down(value: float, digits: int = DIGITS) -> str:
    """A lower bound with ``digits`` significant digits."""
    return _number(value, digits, ROUND_FLOOR)


def number_up(value: float, digits: int = DIGITS) -> str:
    """An upper bound with ``digits`` significant digits."""
    return _number(value, digits, ROUND_CEILING)


def number(value: float, digits: int = DIGITS) -> str:
    """A value that bounds nothing, to the nearest."""
    return _number(value, digits, ROUND_HALF_EVEN)


def exact(value: float) -> str:
    """A given value, such as an epsilon, unrounded: ``0.1``, ``1e-05``."""
    return repr(value).removesuffix(".0")


def whole(value: int) -> str:
    """A count, with its digits in groups of three."""
    return f"{value:,}".replace(",", _SPACE)


def _number(value: float, digits: int, rounding: str) -> str:
    rounded = Context(prec=digits, rounding=rounding).create_decimal(repr(value))
    if not rounded:
        return "0"
    if rounded.adjusted() in _PLAIN:
        return f"{rounded:f}"
    return f"{rounded:.{digits - 1}e}"
