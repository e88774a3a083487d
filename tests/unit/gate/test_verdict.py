"""The gate passes on proof, fails on evidence, and otherwise says it does not know.

The hand-made report: 8 samples, clean .875; at linf .1 certified .375, robust .625;
Lipschitz between 11.75 and 18.5.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from robustcert.errors import ConsistencyError
from robustcert.gate.outcome import Outcome
from robustcert.gate.policy import policy_from
from robustcert.gate.verdict import GateVerdict, decide, verdict_document
from robustcert.results.bound import UpperBound
from robustcert.results.norm import Norm
from robustcert.results.report import Finding, Level
from robustcert.results.threat_model import Box, ThreatSweep
from tests.golden.handmade import small_report, unreliable_report

PASSED, FAILED, OPEN = Outcome.PASSED, Outcome.FAILED, Outcome.INCONCLUSIVE

CLEAN = {"metric": "clean_accuracy", "min": 0.875}
CERTIFIED = {"metric": "certified_accuracy", "epsilon": 0.1, "min": 0.375}
ROBUST = {"metric": "robust_accuracy", "epsilon": 0.1, "min": 0.375}
LIPSCHITZ = {"metric": "lipschitz", "max": 18.5}


def policy(*rules, **evaluate):
    subject = {"samples": "digits", "norm": "linf"} | evaluate
    return policy_from({"evaluate": subject, "rule": list(rules)})


def said(rule, report=None, **evaluate):
    (one,) = decide(report or small_report(), policy(rule, **evaluate)).rules
    return one


@pytest.mark.parametrize(
    ("rule", "outcome"),
    [
        (CLEAN, PASSED),
        (CLEAN | {"min": 0.876}, FAILED),
        (CERTIFIED, PASSED),
        (CERTIFIED | {"min": 0.376}, FAILED),
        (CERTIFIED | {"epsilon": 0.05, "min": 0.625}, PASSED),
        (ROBUST, PASSED),
        (ROBUST | {"min": 0.376}, OPEN),
        (ROBUST | {"min": 0.625}, OPEN),
        (ROBUST | {"min": 0.626}, FAILED),
        (ROBUST | {"epsilon": 0.0, "min": 0.875}, PASSED),
        (LIPSCHITZ, PASSED),
        (LIPSCHITZ | {"max": 18.4}, OPEN),
        (LIPSCHITZ | {"max": 11.75}, OPEN),
        (LIPSCHITZ | {"max": 11.74}, FAILED),
    ],
)
def test_a_threshold_is_met_by_proof_and_missed_by_evidence(rule, outcome):
    one = said(rule)
    assert one.outcome is outcome
    assert one.reason.endswith(".")
    assert bool(one.remedy) is (outcome is not PASSED)


def test_reasons_and_titles_give_the_figures_and_the_threat_model():
    one = said(ROBUST | {"min": 0.5})
    assert one.title == "robust accuracy at linf 0.1 is at least 50\N{NO-BREAK SPACE}%"
    assert "between 37.5" in one.reason
    assert "62.5" in one.reason
    assert "3 of 8 samples" in said(CERTIFIED).reason
    assert said(LIPSCHITZ).title == "linf Lipschitz constant is at most 18.5"


@pytest.mark.parametrize(
    ("rule", "outcome"),
    [
        # radii .125, .1, .11 reach .09; one more sample broke at .0625 and at .0156
        (ROBUST | {"epsilon": 0.09, "min": 0.375}, PASSED),
        (ROBUST | {"epsilon": 0.09, "min": 0.626}, FAILED),
        # at .2 the sample with distance .1875 is broken, too
        (ROBUST | {"epsilon": 0.2, "min": 0.501}, FAILED),
        (ROBUST | {"epsilon": 0.2, "min": 0.1}, OPEN),
        # not certified at .2 is not tried at .2: no failure, unless attacks say so
        (CERTIFIED | {"epsilon": 0.2, "min": 0.1}, OPEN),
        (CERTIFIED | {"epsilon": 0.2, "min": 0.501}, FAILED),
        (CERTIFIED | {"epsilon": 0.09, "min": 0.375}, PASSED),
    ],
)
def test_an_epsilon_that_was_not_evaluated_is_judged_by_radii_and_distances(
    rule, outcome
):
    one = said(rule)
    assert one.outcome is outcome
    if outcome is OPEN:
        assert "Evaluate at epsilon 0.2" in one.remedy


@pytest.mark.parametrize("rule", [ROBUST, CERTIFIED, LIPSCHITZ])
def test_an_unreliable_evaluation_passes_no_rule_about_robustness(rule):
    error = Finding("random-model", Level.ERROR, "The model is random.", "Fix it.")
    report = replace(small_report(), findings=(error,))
    one = said(rule, report)
    assert one.outcome is OPEN
    assert "The model is random." in one.reason
    assert one.remedy == "Fix it."
    assert said(CLEAN, report).outcome is PASSED


def test_an_unreliable_evaluation_still_fails_on_verified_examples():
    assert said(ROBUST | {"min": 0.7}, unreliable_report()).outcome is FAILED


def test_a_warning_does_not_stop_a_pass():
    warning = Finding("masking", Level.WARNING, "Perhaps.", "Look.")
    report = replace(small_report(), findings=(warning,))
    assert said(ROBUST, report).outcome is PASSED


@pytest.mark.parametrize("uppers", [(), (UpperBound(math.inf, Norm.LINF, "liplt"),)])
def test_an_unbounded_constant_passes_no_maximum_but_can_fail_one(uppers):
    bracket = replace(small_report().lipschitz, uppers=uppers)
    report = replace(small_report(), lipschitz=bracket)
    assert said(LIPSCHITZ | {"max": 1e300}, report).outcome is OPEN
    assert "no finite upper bound" in said(LIPSCHITZ, report).reason
    assert said(LIPSCHITZ | {"max": 1.0}, report).outcome is FAILED


@pytest.mark.parametrize("rule", [ROBUST, CERTIFIED, LIPSCHITZ])
def test_a_report_in_another_norm_decides_nothing(rule):
    one = said(rule, norm="l2")
    assert one.outcome is OPEN
    assert "linf" in one.reason


def test_a_report_in_another_box_decides_nothing_about_perturbations():
    report = small_report()
    threats = ThreatSweep(Norm.LINF, report.threats.epsilons, Box(0.0, 2.0))
    one = said(ROBUST, replace(report, threats=threats))
    assert one.outcome is OPEN
    assert "[0, 2]" in one.reason
    assert said(CLEAN, replace(report, threats=threats)).outcome is PASSED


def test_a_report_about_other_samples_decides_nothing_about_accuracy():
    for rule in (CLEAN, CERTIFIED, ROBUST):
        assert said(rule, samples="letters").outcome is OPEN
        assert said(rule, count=9).outcome is OPEN
        assert said(rule, count=8).outcome is PASSED
    assert said(LIPSCHITZ, samples="letters", count=9).outcome is PASSED


def test_a_sample_file_is_known_by_its_stem():
    assert said(CLEAN, samples="some/folder/digits.npz").outcome is PASSED


def test_a_rule_with_confidence_is_about_the_distribution():
    # Clopper-Pearson at 95 %: 7 of 8 are .473 to .9968; 3 of 8 .0852, 5 of 8 .9148
    sure = {"confidence": 0.95}
    assert said(CLEAN | sure | {"min": 0.47}).outcome is PASSED
    assert said(CLEAN | sure | {"min": 0.875}).outcome is OPEN
    assert said(CLEAN | sure | {"min": 0.997}).outcome is FAILED
    assert said(ROBUST | sure | {"min": 0.085}).outcome is PASSED
    assert said(ROBUST | sure | {"min": 0.91}).outcome is OPEN
    assert said(ROBUST | sure | {"min": 0.915}).outcome is FAILED
    assert "95" in said(CLEAN | sure).title


@pytest.mark.parametrize(
    ("rules", "outcome", "code"),
    [
        ([CLEAN, CERTIFIED], PASSED, 0),
        ([CLEAN, ROBUST | {"min": 0.5}], OPEN, 3),
        ([CLEAN | {"min": 1.0}, ROBUST | {"min": 0.5}, CERTIFIED], FAILED, 1),
    ],
)
def test_one_failure_fails_the_gate_and_one_doubt_leaves_it_open(rules, outcome, code):
    verdict = decide(small_report(), policy(*rules))
    assert verdict.outcome is outcome
    assert verdict.exit_code == code
    document = verdict_document(verdict)
    assert document["exit_code"] == code
    assert [rule["outcome"] for rule in document["rules"]] == [
        rule.outcome.value for rule in verdict.rules
    ]


def test_a_gate_without_rules_decides_nothing():
    with pytest.raises(ValueError, match="decides nothing"):
        GateVerdict(())


def test_nothing_follows_from_a_report_that_contradicts_itself():
    report = small_report()
    rows = (replace(report.rows[0], certified_radius=math.nan), *report.rows[1:])
    with pytest.raises(ConsistencyError):
        decide(replace(report, rows=rows), policy(CLEAN))
