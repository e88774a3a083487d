"""The part of a report that is about the smoothed model."""

from __future__ import annotations

from dataclasses import replace

from robustcert.certify.smoothing.table import smoothing_table
from robustcert.errors import UnsoundModelError
from robustcert.evaluation.plan import EvaluationPlan
from robustcert.evaluation.provenance import Clock
from robustcert.evaluation.subject import Subject
from robustcert.results.consistency import check
from robustcert.results.progress import Listener
from robustcert.results.report import Finding, Level, RobustnessReport

REFUSED = "smoothing-refused"
"""The rule of the finding that says why there is no smoothed model."""


def with_smoothing(
    report: RobustnessReport,
    subject: Subject,
    plan: EvaluationPlan,
    listener: Listener,
    clock: Clock,
) -> RobustnessReport:
    """``report`` with what the plan asks about the smoothed model, if anything.

    A model that cannot be smoothed, because it is random or mixes the rows of a batch,
    leaves a finding; all else that was found of it still holds.

    Raises:
        ConsistencyError: the parts contradict each other.
    """
    if plan.smoothing is None:
        return report
    model, box = subject.read.model, plan.threats.box
    try:
        table = smoothing_table(model, subject.samples, box, plan.smoothing, listener)
    except UnsoundModelError as error:
        told = Finding(REFUSED, Level.WARNING, error.message, error.remedy)
        return replace(report, findings=(*report.findings, told))
    source = replace(report.provenance, seconds=clock.seconds)
    whole = replace(report, smoothing=table, provenance=source)
    check(whole)
    return whole
