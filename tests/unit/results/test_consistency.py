"""Each law refuses the report that breaks it, by name."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from robustcert.errors import ConsistencyError
from robustcert.results.bound import (
    Bracket,
    LowerBound,
    Scope,
    UpperBound,
    Witness,
)
from robustcert.results.consistency import check, curve_violations, violations
from robustcert.results.norm import Norm
from robustcert.results.report import CurvePoint, LayerCard, SampleRow
from tests.golden.handmade import small_report

NAN = float("nan")
PAIR = Witness((0.0,), (1.0,), 2.0)


def with_row(position=0, **fields):
    report = small_report()
    rows = list(report.rows)
    rows[position] = replace(rows[position], **fields)
    return replace(report, rows=tuple(rows))


def with_bounds(lowers=(), uppers=()):
    return replace(small_report(), lipschitz=Bracket(Norm.L2, lowers, uppers))


def lower(value, scope=Scope.GLOBAL):
    return LowerBound(value, Norm.L2, "pair_ascent", PAIR, scope)


def upper(value, scope=Scope.GLOBAL):
    return UpperBound(value, Norm.L2, "liplt", scope)


def test_the_hand_made_report_obeys_every_law():
    check(small_report())


@pytest.mark.parametrize(
    ("fields", "law"),
    [
        ({"margin": NAN}, "margin is nan"),
        ({"margin": math.inf}, "margin is inf"),
        ({"certified_radius": NAN}, "certified radius is nan"),
        ({"certified_radius": math.inf}, "certified radius is inf"),
        ({"certified_radius": -1.0}, "certified radius is -1"),
        ({"adversarial_distance": math.inf, "broken_by": "fab"}, "distance is inf"),
        ({"adversarial_distance": NAN, "broken_by": "fab"}, "distance is nan"),
        ({"certified_by": None}, "radius without a certifier"),
        ({"broken_by": "fab"}, "attack without a distance"),
        ({"adversarial_distance": 0.5}, "distance without an attack"),
        ({"adversarial_distance": 0.1, "broken_by": "fab"}, "inside the radius"),
        ({"adversarial_distance": 0.125, "broken_by": "fab"}, "inside the radius"),
        ({"adversarial_distance": 0.5, "broken_by": "clean"}, "yet broken by clean"),
        ({"predicted": 4}, "contradicts prediction 4"),
        ({"label": 10, "predicted": 10}, "is no class"),
        ({"index": -1}, "index is negative"),
        ({"index": 1}, "a sample occurs twice"),
    ],
)
def test_a_right_sample_with_one_wrong_field_is_refused_by_its_law(fields, law):
    with pytest.raises(ConsistencyError, match=law):
        check(with_row(0, **fields))


@pytest.mark.parametrize(
    ("fields", "law"),
    [
        ({"adversarial_distance": 0.1}, "the model is wrong, yet"),
        ({"adversarial_distance": None, "broken_by": None}, "the model is wrong, yet"),
        ({"certified_radius": 0.1, "certified_by": "crown"}, "the model is wrong, yet"),
        ({"broken_by": "square"}, "yet broken by square"),
        ({"predicted": 9}, "contradicts prediction 9"),
    ],
)
def test_a_wrong_sample_with_one_wrong_field_is_refused_by_its_law(fields, law):
    with pytest.raises(ConsistencyError, match=law):
        check(with_row(3, **fields))


def test_a_tie_counts_as_wrong_although_the_label_is_predicted():
    report = with_row(
        0,
        margin=0.0,
        certified_radius=0.0,
        certified_by=None,
        adversarial_distance=0.0,
        broken_by="clean",
    )
    check(report)
    assert report.clean_accuracy == 6 / 8


def test_a_lower_bound_above_an_upper_bound_is_refused():
    with pytest.raises(ConsistencyError, match=r"proves 3\.0, above liplt"):
        check(with_bounds((lower(3.0),), (upper(9.0), upper(2.0))))


def test_a_bracket_may_close_up_to_rounding():
    check(with_bounds((lower(2.0 * (1 + 1e-12)),), (upper(2.0),)))


def test_an_unbounded_upper_bound_is_lawful():
    check(with_bounds((lower(3.0),), (upper(math.inf),)))


def test_bounds_of_scopes_that_do_not_cover_each_other_are_not_compared():
    check(with_bounds((lower(3.0),), (upper(2.0, Scope.BOX),)))


def test_a_witness_in_the_box_refutes_a_global_upper_bound():
    with pytest.raises(ConsistencyError, match="proves"):
        check(with_bounds((lower(3.0, Scope.BOX),), (upper(2.0),)))


def test_an_upper_bound_of_one_ball_says_nothing_about_the_model():
    with pytest.raises(ConsistencyError, match="holds in a ball"):
        check(with_bounds((), (upper(2.0, Scope.BALL),)))


def test_a_report_without_samples_is_refused_and_not_divided_by():
    with pytest.raises(ConsistencyError, match="no samples"):
        check(replace(small_report(), rows=()))


def test_a_sample_set_that_counts_other_rows_is_refused():
    report = small_report()
    with pytest.raises(ConsistencyError, match="8 rows are given for 500"):
        check(replace(report, samples=replace(report.samples, count=500)))


@pytest.mark.parametrize("norm", [NAN, -1.0])
def test_an_operator_norm_is_a_number_of_at_least_0(norm):
    report = small_report()
    layers = (LayerCard("head", "linear", (10,), norm),)
    with pytest.raises(ConsistencyError, match="operator norm"):
        check(replace(report, model=replace(report.model, layers=layers)))


def test_a_time_that_is_no_number_is_refused():
    report = small_report()
    with pytest.raises(ConsistencyError, match="evaluation took nan"):
        check(replace(report, provenance=replace(report.provenance, seconds=NAN)))
    slow = replace(report.attacks[0], seconds=NAN)
    with pytest.raises(ConsistencyError, match="apgd_margin took nan"):
        check(replace(report, attacks=(slow,)))


def point(epsilon, certified, robust):
    return CurvePoint(epsilon, certified, robust, (0.0, 1.0), (0.0, 1.0))


@pytest.mark.parametrize(
    ("curve", "law"),
    [
        ([point(0.1, 0.8, 0.7)], "out of order"),
        ([point(0.1, 0.5, 0.95)], "out of order"),
        ([point(0.1, NAN, 0.5)], "out of order"),
        ([point(0.0, 0.8, 0.9)], "differ from the clean"),
        ([point(0.1, 0.4, 0.7), point(0.2, 0.5, 0.7)], "accuracy rises"),
        ([point(0.1, 0.4, 0.6), point(0.2, 0.4, 0.7)], "accuracy rises"),
    ],
)
def test_a_curve_that_breaks_a_law_is_named(curve, law):
    (said,) = curve_violations(tuple(curve), 0.9)
    assert law in said


def test_a_refusal_names_the_first_twenty_faults_and_counts_the_rest():
    wrong = SampleRow(0, 1, 1, NAN, 0.0, None, 0.0, "clean")
    rows = tuple(replace(wrong, index=index) for index in range(30))
    report = small_report()
    report = replace(report, rows=rows, samples=replace(report.samples, count=30))
    assert len(list(violations(report))) == 30
    with pytest.raises(ConsistencyError, match="and 10 more") as refused:
        check(report)
    assert refused.value.remedy
