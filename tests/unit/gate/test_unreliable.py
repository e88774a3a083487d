"""No rule on robust accuracy passes while something is known to hinder the attacks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from robustcert.formats.sentences import unreliable
from robustcert.gate.outcome import Outcome
from robustcert.gate.policy import policy_from
from robustcert.gate.verdict import decide
from robustcert.results.attack import AttackRun
from robustcert.results.report import Finding, Level
from robustcert.results.soundness import RESOLVED_BY, UNRELIABLE
from tests.golden.handmade import small_report

ROBUST = {"metric": "robust_accuracy", "epsilon": 0.1, "min": 0.375}
CERTIFIED = {"metric": "certified_accuracy", "epsilon": 0.1, "min": 0.375}
LIPSCHITZ = {"metric": "lipschitz", "max": 18.5}


def outcome(rule, report):
    subject = {"samples": "digits", "norm": "linf"}
    (one,) = decide(report, policy_from({"evaluate": subject, "rule": [rule]})).rules
    return one.outcome


def doubtful(rule, ran=("apgd-ce",)):
    runs = tuple(AttackRun(name, 0, 1, 1, 0.5, attacked=5) for name in ran)
    found = Finding(rule, Level.WARNING, "Something hinders attacks.", "Mend it.")
    return replace(small_report(), findings=(found,), attacks=runs)


@pytest.mark.parametrize("rule", sorted(UNRELIABLE))
def test_a_rule_on_robust_accuracy_does_not_pass_while_a_doubt_is_open(rule):
    report = doubtful(rule)
    assert unreliable(report)
    assert outcome(ROBUST, report) is Outcome.INCONCLUSIVE
    assert Outcome.INCONCLUSIVE.exit_code != 0


@pytest.mark.parametrize("rule", sorted(RESOLVED_BY))
def test_it_passes_again_once_the_doubt_is_resolved(rule):
    report = doubtful(rule, RESOLVED_BY[rule])
    assert not unreliable(report)
    assert outcome(ROBUST, report) is Outcome.PASSED


@pytest.mark.parametrize("promise", [CERTIFIED, LIPSCHITZ])
def test_proofs_do_not_mind_what_hinders_attacks_but_do_mind_randomness(promise):
    assert outcome(promise, doubtful("zero-gradients")) is Outcome.PASSED
    assert outcome(promise, doubtful("random-output")) is Outcome.INCONCLUSIVE
