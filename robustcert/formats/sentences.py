"""What was found, in sentences that every format shares."""

from __future__ import annotations

import math

from robustcert.results.bound import Bracket
from robustcert.results.numbers import (
    exact,
    number_down,
    number_up,
    percent,
    percent_down,
    percent_up,
    whole,
)
from robustcert.results.report import CurvePoint, Finding, Level, RobustnessReport
from robustcert.results.soundness import doubts

UNRELIABLE = "The evaluation is unreliable: read the findings first."


def headline(report: RobustnessReport) -> str:
    """The verdict at the largest epsilon asked for."""
    point = report.curve[-1]
    samples = f"these {whole(len(report.rows))} samples"
    if len(report.rows) == 1:
        samples = "this one sample"
    where = f"{report.threats.norm.word} {exact(point.epsilon)}"
    low, high = shown_band(point)
    if point.certified == point.robust:
        known = f"is {percent(point.robust)}: each is either certified or broken."
    else:
        known = f"lies between {low} and {high}."
    return f"The true robust accuracy of {samples} at {where} {known}"


def shown_band(point: CurvePoint) -> tuple[str, str]:
    """Certified accuracy rounded down, robust accuracy rounded up."""
    return percent_down(point.certified), percent_up(point.robust)


def undecided(point: CurvePoint, count: int) -> int:
    """How many of ``count`` samples are neither certified nor broken."""
    return round(point.robust * count) - round(point.certified * count)


def bracket_sentence(bracket: Bracket) -> str:
    """What is known about the Lipschitz constant."""
    place = f"The {bracket.scope.value} {bracket.norm.word} Lipschitz constant"
    lower, upper = bracket.lower, bracket.upper
    bounded = upper is not None and math.isfinite(upper.value)
    high = number_up(upper.value) if upper is not None and bounded else None
    low = number_down(lower.value) if lower is not None else None
    match low, high:
        case None, None:
            return f"{place} is not bounded from either side."
        case None, _:
            return f"{place} is at most {high}; no lower bound was computed."
        case _, None:
            return f"{place} is at least {low}; no finite upper bound is known."
        case _:
            return f"{place} lies between {low} and {high}."


def ranked(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Errors first, then warnings, then notes; otherwise in their order."""
    order = [Level.ERROR, Level.WARNING, Level.NOTE]
    return tuple(sorted(findings, key=lambda finding: order.index(finding.level)))


def unreliable(report: RobustnessReport) -> bool:
    """Whether a finding says that the evaluation itself cannot be trusted."""
    return bool(doubts(report))


def smoothing_sentence(report: RobustnessReport) -> str:
    """How the smoothed model was made; empty where there is none."""
    table = report.smoothing
    if table is None:
        return ""
    plan = table.plan
    return (
        "The smoothed model answers with the class that this model gives most often "
        f"under Gaussian noise of standard deviation {exact(plan.sigma)}; it was "
        f"judged by {whole(plan.draws)} draws a sample, seed {plan.seed}."
    )
