"""Radii of smoothed models follow from counts; their table states its doubts."""

from __future__ import annotations

import json
import math

import pytest
from scipy.stats import beta, norm

from robustcert.errors import UsageError
from robustcert.results.document import canonical_json
from robustcert.results.smoothing import (
    LEAST_ALPHA,
    SmoothedSample,
    SmoothingPlan,
    SmoothingTable,
    lower_share,
    smoothed_sample,
)
from robustcert.results.smoothing_document import SmoothingReport, smoothing_document
from tests.golden.handmade import small_report

PLAN = SmoothingPlan(sigma=0.5, selection=10, draws=1000, alpha=0.01)


@pytest.mark.parametrize("alpha", [0.05, 1e-3, 1e-6, LEAST_ALPHA])
@pytest.mark.parametrize(
    ("hits", "count"), [(1, 1), (60, 100), (100, 100), (9_990, 10_000), (99_999, 10**5)]
)
def test_the_share_is_bounded_as_by_the_beta_quantile(alpha, hits, count):
    truth = beta.ppf(alpha, hits, count - hits + 1)
    found = lower_share(hits, count, alpha)
    assert found <= truth
    assert found == pytest.approx(truth, rel=2e-6, abs=3e-12)


def test_no_hit_bounds_nothing():
    assert lower_share(0, 50, 0.01) == 0.0


def test_if_every_draw_hits_the_share_is_a_root_of_alpha():
    assert lower_share(1000, 1000, 0.01) == pytest.approx(0.01 ** (1 / 1000), rel=1e-8)


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_over_all_outcomes_the_bound_fails_no_more_often_than_alpha(share):
    count, alpha = 60, 0.02
    failing = sum(
        math.comb(count, hits) * share**hits * (1.0 - share) ** (count - hits)
        for hits in range(count + 1)
        if lower_share(hits, count, alpha) > share
    )
    assert failing <= alpha


def test_the_radius_is_sigma_times_the_normal_quantile():
    hits = 990
    share = beta.ppf(0.01, hits, 1000 - hits + 1)
    exact = 0.5 * norm.ppf(share)
    assert PLAN.radius(hits) <= exact
    assert PLAN.radius(hits) == pytest.approx(exact, rel=1e-6)
    assert PLAN.largest_radius == pytest.approx(
        0.5 * norm.ppf(0.01 ** (1 / 1000)), rel=1e-6
    )


def test_more_hits_never_shrink_the_radius():
    radii = [PLAN.radius(hits) for hits in range(0, 1001, 10)]
    assert radii == sorted(radii)


def test_half_of_the_draws_certify_nothing():
    assert PLAN.radius(500) == 0.0
    assert smoothed_sample(PLAN, 0, 1, 1, 500).abstained


def table():
    rows = (
        smoothed_sample(PLAN, 0, 1, 1, 1000),
        smoothed_sample(PLAN, 1, 1, 1, 700),
        smoothed_sample(PLAN, 2, 1, 0, 1000),
        smoothed_sample(PLAN, 3, 1, 1, 505),
        smoothed_sample(PLAN, 4, 1, None, 0),
    )
    return SmoothingTable(PLAN, rows)


def test_wrong_and_abstained_samples_are_never_certified():
    found = table()
    assert found.certified_accuracy(0.0) == 0.4
    assert found.certified_accuracy(found.rows[1].radius) == 0.2
    assert found.certified_accuracy(PLAN.largest_radius) == 0.0
    assert found.abstained == 0.4


def test_a_radius_is_that_of_an_open_ball():
    row = smoothed_sample(PLAN, 0, 1, 1, 900)
    assert row.holds(math.nextafter(row.radius, 0.0))
    assert not row.holds(row.radius)


def test_the_whole_table_fails_with_the_sum_of_its_samples_chances():
    assert table().failure_probability == pytest.approx(0.05)
    many = SmoothingTable(PLAN, table().rows * 40)
    assert many.failure_probability == 1.0


def test_a_radius_that_its_hits_do_not_give_is_no_row():
    claimed = SmoothedSample(0, 1, 1, 600, 1.0)
    with pytest.raises(ValueError, match="hits give another radius"):
        SmoothingTable(PLAN, (claimed,))
    with pytest.raises(ValueError, match="needs samples"):
        SmoothingTable(PLAN, ())


def test_epsilons_go_in_halves_of_sigma_up_to_what_the_draws_can_show():
    usual = table().usual_epsilons
    assert usual[:3] == (0.0, 0.25, 0.5)
    assert usual[-1] < PLAN.largest_radius <= usual[-1] + 0.25


@pytest.mark.parametrize(
    "wrong",
    [
        {"sigma": 0.0},
        {"sigma": math.nan},
        {"sigma": math.inf},
        {"selection": 0},
        {"draws": 0},
        {"alpha": 0.5},
        {"alpha": 0.0},
        {"alpha": math.nan},
        {"seed": -1},
    ],
)
def test_a_plan_without_meaning_is_refused_with_a_remedy(wrong):
    with pytest.raises(UsageError) as refused:
        SmoothingPlan(**{"sigma": 0.5, **wrong})
    assert refused.value.remedy


def test_the_document_says_whose_radii_these_are_and_how_they_may_fail():
    known = small_report()
    report = SmoothingReport(
        known.model, known.samples, table(), (0.0, 0.5), known.provenance
    )
    document = json.loads(canonical_json(smoothing_document(report)))
    assert document["schema"] == "robustcert/smoothing/v1"
    assert "about the smoothed model" in document["about"][0]
    assert any(
        "outside" in line or "leave the box" in line for line in document["about"]
    )
    assert document["failure_probability"] == {"sample": 0.01, "table": 0.05}
    assert document["smoothing"]["norm"] == "l2"
    points = document["accuracy"]["certified"]
    assert [point["accuracy"] for point in points] == [0.4, 0.2]
    assert points[0]["interval"][0] < 0.4 < points[0]["interval"][1]
    assert document["rows"][3]["abstained"] is True
    assert document["rows"][4]["candidate"] is None
    assert "certificates" not in document
