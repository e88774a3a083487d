"""One rule judged against one report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from robustcert.gate.outcome import Outcome
from robustcert.gate.policy import SAMPLE_FILE, Metric, Rule, Subject
from robustcert.gate.truth import Truth, truth_of
from robustcert.results.numbers import exact, percent_exact
from robustcert.results.report import Finding, RobustnessReport
from robustcert.results.soundness import RESOLVED_BY, doubts


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """What a rule says about a report.

    Attributes:
        rule: as it stands in the policy.
        title: the rule in words.
        outcome: passed, failed or inconclusive.
        reason: sentences with the figures.
        remedy: what to do; empty where the rule passed.
    """

    rule: Rule
    title: str
    outcome: Outcome
    reason: str
    remedy: str = ""


def judged(rule: Rule, report: RobustnessReport, subject: Subject) -> RuleVerdict:
    """What ``rule`` says about ``report``, which obeys the laws.

    A report about something else (another norm, box or sample set) decides nothing.
    Where a finding says that the evaluation is unreliable, only clean accuracy passes,
    and what is proved if the finding is about the attacks; what failed stays failed,
    because it was broken by verified examples.
    """
    title = rule_title(rule, subject)
    foreign = _foreign(rule, report, subject)
    if foreign:
        remedy = "Evaluate what the policy's [evaluate] names."
        return RuleVerdict(rule, title, Outcome.INCONCLUSIVE, foreign, remedy)
    truth = truth_of(rule, report)
    outcome = _compared(rule, truth)
    doubt = _doubt(rule.metric, report)
    if outcome is Outcome.PASSED and doubt:
        reason = f"{truth.sentence} The evaluation is unreliable: {doubt.message}"
        return RuleVerdict(rule, title, Outcome.INCONCLUSIVE, reason, doubt.remedy)
    remedy = truth.remedy if outcome is Outcome.INCONCLUSIVE else ""
    if outcome is Outcome.FAILED:
        remedy = _FAILED[rule.metric]
    return RuleVerdict(rule, title, outcome, truth.sentence, remedy)


def rule_title(rule: Rule, subject: Subject) -> str:
    """The rule in words, such as ``robust accuracy at linf 0.1 is at least 80 %``."""
    norm = subject.threats.norm.word
    if rule.metric is Metric.LIPSCHITZ:
        return f"{norm} Lipschitz constant is at most {exact(rule.threshold)}"
    words = rule.metric.value.replace("_", " ")
    where = sure = ""
    if rule.epsilon is not None:
        where = f" at {norm} {exact(rule.epsilon)}"
    if rule.confidence is not None:
        sure = f" with {percent_exact(rule.confidence)} confidence"
    return f"{words}{where} is at least {percent_exact(rule.threshold)}{sure}"


_FAILED = {
    Metric.CLEAN: "Train the model further.",
    Metric.CERTIFIED: "Certify at a higher effort, or train for certified robustness.",
    Metric.ROBUST: "Train for robustness; the report names the samples that broke.",
    Metric.LIPSCHITZ: "Train for a smaller Lipschitz constant.",
}


def _doubt(metric: Metric, report: RobustnessReport) -> Finding | None:
    """What a pass on ``metric`` founders on.

    Proofs do not mind what hinders attacks.
    """
    if metric is Metric.CLEAN:
        return None
    found = doubts(report)
    if metric is not Metric.ROBUST:
        found = tuple(one for one in found if one.rule not in RESOLVED_BY)
    return next(iter(found), None)


def _foreign(rule: Rule, report: RobustnessReport, subject: Subject) -> str:
    """Why ``report`` is not about what ``rule`` asks; empty where it is."""
    asked, norm = subject.threats, report.threats.norm
    if rule.metric is Metric.LIPSCHITZ:
        norm = report.lipschitz.norm
    if rule.metric is not Metric.CLEAN and norm is not asked.norm:
        return f"The report is in {norm.word}, the policy in {asked.norm.word}."
    if rule.metric.at_epsilon and report.threats.box != asked.box:
        low, high = exact(report.threats.box.low), exact(report.threats.box.high)
        return f"The report is about inputs in [{low}, {high}]."
    if rule.metric is not Metric.LIPSCHITZ:
        return _foreign_samples(report, subject)
    return ""


def _foreign_samples(report: RobustnessReport, subject: Subject) -> str:
    name, card = _sample_name(subject.samples), report.samples
    if card.name != name:
        return f"The report is about samples of {card.name!r}, not of {name!r}."
    if subject.count is not None and card.count < subject.count:
        return f"The report has {card.count} of the {subject.count} samples asked for."
    return ""


def _sample_name(samples: str) -> str:
    return PurePath(samples).stem if samples.endswith(SAMPLE_FILE) else samples


def _compared(rule: Rule, truth: Truth) -> Outcome:
    if rule.metric is Metric.LIPSCHITZ:
        holds, broken = truth.high <= rule.threshold, truth.low > rule.threshold
    else:
        holds, broken = truth.low >= rule.threshold, truth.high < rule.threshold
    if holds:
        return Outcome.PASSED
    return Outcome.FAILED if broken else Outcome.INCONCLUSIVE
