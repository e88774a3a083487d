"""Clopper-Pearson intervals, against scipy and against closed forms."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import beta

from robustcert.results.interval import share_interval

CONFIDENCES = st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.999])


@st.composite
def draws(draw):
    count = draw(st.integers(1, 10_000))
    return draw(st.integers(0, count)), count


@given(draws(), CONFIDENCES)
@example((0, 1), 0.95)
@example((1, 1), 0.95)
@example((1, 10_000), 0.999)
@example((9_999, 10_000), 0.999)
@example((5_000, 10_000), 0.95)
def test_an_interval_is_that_of_scipys_beta_quantiles_to_nine_digits(drawn, confidence):
    hits, count = drawn
    tail = (1.0 - confidence) / 2.0
    low, high = share_interval(hits, count, confidence)
    exact_low = beta.ppf(tail, hits, count - hits + 1) if hits else 0.0
    exact_high = beta.ppf(1 - tail, hits + 1, count - hits) if hits < count else 1.0
    assert low == pytest.approx(exact_low, abs=1e-9)
    assert high == pytest.approx(exact_high, abs=1e-9)


def test_no_hit_among_n_draws_gives_the_closed_form_of_the_rule_of_three():
    low, high = share_interval(0, 1_000_000)
    assert low == 0.0
    assert high == pytest.approx(1.0 - 0.025 ** (1 / 1_000_000), abs=1e-12)


@given(draws(), CONFIDENCES)
def test_an_interval_holds_its_share_and_mirrors_that_of_the_misses(drawn, confidence):
    hits, count = drawn
    low, high = share_interval(hits, count, confidence)
    mirrored = share_interval(count - hits, count, confidence)
    assert 0.0 <= low <= hits / count <= high <= 1.0
    assert mirrored == pytest.approx((1.0 - high, 1.0 - low), abs=3e-12)


@given(draws())
def test_more_confidence_never_gives_a_narrower_interval(drawn):
    low, high = share_interval(*drawn, 0.9)
    wider_low, wider_high = share_interval(*drawn, 0.99)
    assert wider_low <= low
    assert wider_high >= high


@pytest.mark.parametrize(
    ("hits", "count", "confidence"),
    [(-1, 10, 0.95), (11, 10, 0.95), (0, 0, 0.95), (1, 2, 0.0), (1, 2, 1.0)],
)
def test_an_impossible_share_has_no_interval(hits, count, confidence):
    with pytest.raises(ValueError, match=r"share|confidence"):
        share_interval(hits, count, confidence)
