"""The interval that holds what a rule is about.

Clean accuracy, and certified accuracy at an epsilon that was evaluated, are facts about
the samples: their interval is one point. The true robust accuracy lies between
certified and robust accuracy, the Lipschitz constant in its bracket.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from robustcert.gate.policy import Metric, Rule
from robustcert.results.bound import Bracket
from robustcert.results.interval import share_interval
from robustcert.results.numbers import (
    exact,
    number_down,
    number_up,
    percent,
    percent_down,
    percent_up,
)
from robustcert.results.report import RobustnessReport, accuracy_curve


@dataclass(frozen=True, slots=True)
class Truth:
    """``low <= truth <= high``.

    Attributes:
        low: shares in [0, 1], or a Lipschitz bound.
        high: infinite where nothing bounds the Lipschitz constant from above.
        sentence: the interval in words, rounded outwards.
        remedy: how to narrow it.
    """

    low: float
    high: float
    sentence: str
    remedy: str


def truth_of(rule: Rule, report: RobustnessReport) -> Truth:
    """What ``report`` knows about the quantity of ``rule``."""
    if rule.metric is Metric.LIPSCHITZ:
        return _constant(report.lipschitz)
    low, high, remedy = _shares(rule, report)
    if rule.confidence is not None:
        return _generalised(low, high, len(report.rows), rule.confidence, remedy)
    if low == high:
        hits = round(low * len(report.rows))
        sentence = f"It is {percent(low)}: {hits} of {len(report.rows)} samples."
    else:
        sentence = f"It lies between {percent_down(low)} and {percent_up(high)}."
    return Truth(low, high, sentence, remedy)


def _constant(bracket: Bracket) -> Truth:
    low = 0.0 if bracket.lower is None else bracket.lower.value
    high = math.inf if bracket.upper is None else bracket.upper.value
    sentence = f"It is at least {number_down(low)}, with no finite upper bound."
    if math.isfinite(high):
        sentence = f"It lies between {number_down(low)} and {number_up(high)}."
    return Truth(low, high, sentence, "Bound the constant at a higher effort.")


def _shares(rule: Rule, report: RobustnessReport) -> tuple[float, float, str]:
    """Shares of these samples, and the remedy.

    They come from the rows, so they hold at every epsilon. At one that the report did
    not evaluate, though, what was not certified was perhaps not tried.
    """
    if rule.epsilon is None:
        return report.clean_accuracy, report.clean_accuracy, ""
    (point,) = accuracy_curve(report.rows, (rule.epsilon,))
    if rule.epsilon not in report.threats.epsilons:
        remedy = f"Evaluate at epsilon {exact(rule.epsilon)}: the report did not."
        return point.certified, point.robust, remedy
    if rule.metric is Metric.CERTIFIED:
        return point.certified, point.certified, ""
    return (
        point.certified,
        point.robust,
        "Attack at a higher tier, certify at a higher effort.",
    )


def _generalised(
    low: float, high: float, count: int, confidence: float, remedy: str
) -> Truth:
    """The same about the distribution that the samples were drawn from."""
    below, _ = share_interval(round(low * count), count, confidence)
    _, above = share_interval(round(high * count), count, confidence)
    sentence = (
        f"For the distribution behind the samples it lies between "
        f"{percent_down(below)} and {percent_up(above)}."
    )
    return Truth(below, above, sentence, remedy or "Evaluate more samples.")
