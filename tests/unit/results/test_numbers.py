"""Numbers are rounded towards safety."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustcert.results.numbers import (
    exact,
    number,
    number_down,
    number_up,
    percent,
    percent_down,
    percent_exact,
    percent_up,
    whole,
)

AMOUNTS = st.floats(0.0, 1e300)


def value(text):
    return float(text.replace("\N{NO-BREAK SPACE}%", ""))


@given(AMOUNTS)
def test_a_shown_bracket_holds_the_value_it_was_made_from(amount):
    assert float(number_down(amount)) <= amount <= float(number_up(amount))
    assert float(number(amount)) == pytest.approx(amount, rel=1e-3)


@given(st.integers(0, 10_000), st.integers(1, 10_000))
def test_a_shown_share_is_rounded_away_from_a_claim(hits, count):
    share = min(hits, count) / count
    slack = 1e-10
    assert value(percent_down(share)) <= 100 * share + slack
    assert value(percent_up(share)) >= 100 * share - slack


def test_almost_all_is_not_shown_as_all_and_almost_none_not_as_none():
    assert percent_down(9999 / 10_000) == "99.9\N{NO-BREAK SPACE}%"
    assert percent_up(1 / 10_000) == "0.1\N{NO-BREAK SPACE}%"


def test_a_share_with_a_short_decimal_is_shown_as_it_is():
    for share in (0.57, 0.29, 0.94, 1.0, 0.0):
        shown = f"{share * 100:.1f}\N{NO-BREAK SPACE}%"
        assert percent_down(share) == percent_up(share) == percent(share) == shown


@pytest.mark.parametrize(
    ("amount", "down", "up"),
    [
        (0.0, "0", "0"),
        (12.34567, "12.34", "12.35"),
        (999999.0, "999900", "1.000e+6"),
        (1e300, "1.000e+300", "1.000e+300"),
        (0.00012345, "0.0001234", "0.0001235"),
        (1.23456e-7, "1.234e-7", "1.235e-7"),
    ],
)
def test_bounds_are_shown_with_four_digits(amount, down, up):
    assert (number_down(amount), number_up(amount)) == (down, up)


def test_given_values_are_shown_unrounded():
    assert exact(0.1) == "0.1"
    assert exact(1.0) == "1"
    assert exact(8 / 255) == "0.03137254901960784"
    assert percent_exact(0.9995) == "99.95\N{NO-BREAK SPACE}%"
    assert percent_exact(1.0) == "100\N{NO-BREAK SPACE}%"
    assert whole(1_234_567) == "1\N{NO-BREAK SPACE}234\N{NO-BREAK SPACE}567"
