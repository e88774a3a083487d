"""Random reports obey the laws or are refused, and survive their document."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustcert.errors import ConsistencyError
from robustcert.formats.chart_data import band, shares
from robustcert.gate.outcome import Outcome
from robustcert.gate.policy import Metric, Policy, Rule, Subject
from robustcert.gate.verdict import decide
from robustcert.results.certificate import Verdict
from robustcert.results.consistency import check
from robustcert.results.document import (
    canonical_json,
    from_document,
    from_json,
    issue,
    without_times,
)
from robustcert.results.report import Level, accuracy_curve
from tests.laws.report_strategies import any_rows, reports


@given(reports())
def test_a_lawful_report_is_issued(report):
    check(report)


@given(reports(rows=any_rows))
def test_a_report_is_refused_or_its_accuracies_are_in_order_at_every_epsilon(report):
    try:
        check(report)
    except ConsistencyError:
        return
    clean = report.clean_accuracy
    epsilons = (0.0, *report.threats.epsilons, 0.5, 1.0, 2.0, 1e9)
    curve = accuracy_curve(report.rows, tuple(sorted(epsilons)))
    assert curve[0].certified == curve[0].robust == clean
    for point in curve:
        assert point.certified <= point.robust <= clean
    assert sorted((p.certified for p in curve), reverse=True) == [
        p.certified for p in curve
    ]
    assert sorted((p.robust for p in curve), reverse=True) == [p.robust for p in curve]
    for row in report.rows:
        if row.broken_by is not None and row.right:
            assert row.adversarial_distance > row.certified_radius


@given(reports(), st.data())
def test_a_sample_broken_inside_its_certified_radius_is_never_issued(report, data):
    right = [i for i, row in enumerate(report.rows) if row.certified_radius > 0.0]
    if not right:
        return
    position = data.draw(st.sampled_from(right))
    row = report.rows[position]
    inside = data.draw(st.floats(0.0, row.certified_radius))
    rows = list(report.rows)
    rows[position] = replace(row, adversarial_distance=inside, broken_by="square")
    with pytest.raises(ConsistencyError, match=f"sample {row.index}"):
        issue(replace(report, rows=tuple(rows)))


@given(reports())
def test_a_document_holds_only_json_and_comes_back_as_the_same_document(report):
    document = issue(report)
    text = canonical_json(document, indent=None)
    back = from_json(text)
    assert issue(back) == document
    assert canonical_json(issue(back), indent=None) == text
    assert json.loads(text) == document


@given(reports())
def test_a_report_comes_back_from_its_document_up_to_witnesses_it_does_not_carry(
    report,
):
    back = from_document(issue(report))
    assert back.model == report.model
    assert back.samples == report.samples
    assert back.threats == report.threats
    assert back.rows == report.rows
    assert back.attacks == report.attacks
    assert back.provenance == report.provenance
    assert back.findings[: len(report.findings)] == report.findings
    assert back.lipschitz.lower == report.lipschitz.lower
    assert back.lipschitz.uppers == report.lipschitz.uppers
    assert back.lipschitz.refused == report.lipschitz.refused


@given(reports())
def test_an_unbounded_value_in_a_document_comes_with_a_finding_that_says_why(report):
    document = issue(report)
    bounds = document["lipschitz"]
    nulls = [b for b in (bounds["upper"], *bounds["bounds"]) if b["value"] is None]
    rules = {finding["rule"] for finding in document["findings"]}
    assert not nulls or "lipschitz-unbounded" in rules


@given(reports(), st.floats(0, 1e6), st.integers(0, 99))
def test_two_documents_that_differ_in_times_alone_are_equal_without_times(
    report, seconds, hits
):
    how = report.provenance
    later = replace(
        how, started="later", seconds=seconds, cache=replace(how.cache, hits=hits)
    )
    runs = tuple(replace(run, seconds=seconds) for run in report.attacks)
    again = replace(report, provenance=later, attacks=runs)
    assert without_times(issue(report)) == without_times(issue(again))


@given(reports(), st.floats(0.0, 10.0))
def test_the_charts_shares_are_those_of_the_rows_at_any_epsilon(report, epsilon):
    (point,) = accuracy_curve(report.rows, (epsilon,))
    assert shares(report.rows).certified(epsilon) == point.certified
    assert shares(report.rows).robust(epsilon) == point.robust


@given(reports(), st.floats(0.0, 1.0))
def test_the_charts_band_holds_the_rows_at_every_epsilon_also_between_its_corners(
    report, fraction
):
    epsilons = report.threats.epsilons
    epsilon = epsilons[-1] * fraction
    (point,) = accuracy_curve(report.rows, (epsilon,))
    corners = band(report.rows, epsilons)
    for left, right in zip(corners[::2], corners[1::2], strict=True):
        if left["epsilon"] < epsilon < right["epsilon"]:
            assert left["certified"] <= point.certified
            assert left["robust"] >= point.robust


@given(reports(), st.sampled_from(list(Metric)), st.floats(0, 1), st.floats(0, 10))
def test_a_rule_passes_only_on_proof_and_fails_only_on_verified_examples(
    report, metric, threshold, epsilon
):
    rule = Rule(metric, threshold, epsilon if metric.at_epsilon else None)
    subject = Subject(report.samples.name, report.threats)
    outcome = decide(report, Policy(subject, (rule,))).outcome
    if metric is Metric.ROBUST:
        verdicts = [row.verdict(epsilon) for row in report.rows]
        proved = verdicts.count(Verdict.CERTIFIED) / len(verdicts)
        standing = 1.0 - verdicts.count(Verdict.BROKEN) / len(verdicts)
        assert outcome is not Outcome.PASSED or proved >= threshold
        assert outcome is not Outcome.FAILED or standing < threshold + 1e-12
    doubtful = any(finding.level is Level.ERROR for finding in report.findings)
    if doubtful and metric is not Metric.CLEAN:
        assert outcome is not Outcome.PASSED
