"""The gate's verdict: passed, failed or inconclusive, with a reason for each rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from robustcert.gate.outcome import Outcome
from robustcert.gate.policy import Policy
from robustcert.gate.rules import RuleVerdict, judged
from robustcert.results.consistency import check
from robustcert.results.report import RobustnessReport

VERDICT_SCHEMA = "robustcert/verdict/v1"


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """What every rule says; one failure fails the gate, one doubt leaves it open."""

    rules: tuple[RuleVerdict, ...]

    def __post_init__(self) -> None:
        if not self.rules:
            raise ValueError("a gate without a rule decides nothing")

    @property
    def outcome(self) -> Outcome:
        """Failed before inconclusive before passed."""
        found = {rule.outcome for rule in self.rules}
        order = (Outcome.FAILED, Outcome.INCONCLUSIVE, Outcome.PASSED)
        return next(outcome for outcome in order if outcome in found)

    @property
    def exit_code(self) -> int:
        """0 passed, 1 failed, 3 inconclusive."""
        return self.outcome.exit_code


def decide(report: RobustnessReport, policy: Policy) -> GateVerdict:
    """What ``policy`` says about ``report``; pure, nothing is evaluated.

    Raises:
        ConsistencyError: the report breaks a law, so nothing follows from it.
    """
    check(report)
    return GateVerdict(
        tuple(judged(rule, report, policy.subject) for rule in policy.rules)
    )


def verdict_document(verdict: GateVerdict) -> dict[str, Any]:
    """``verdict`` as the document ``robustcert/verdict/v1``."""
    return {
        "schema": VERDICT_SCHEMA,
        "outcome": verdict.outcome.value,
        "exit_code": verdict.exit_code,
        "rules": [
            {
                "title": one.title,
                "metric": one.rule.metric.value,
                "epsilon": one.rule.epsilon,
                "threshold": one.rule.threshold,
                "confidence": one.rule.confidence,
                "outcome": one.outcome.value,
                "reason": one.reason,
                "remedy": one.remedy,
            }
            for one in verdict.rules
        ],
    }
