"""The laws every report obeys; a report that breaks one is not issued.

1. Lipschitz: a lower bound <= every upper bound whose scope covers its witness.
2. At each epsilon: certified <= robust <= clean accuracy.
3. Both curves do not rise with epsilon.
4. No sample is broken inside its certified radius.
5. At epsilon 0 both curves equal the clean accuracy exactly.
6. A sample counts as broken at distance 0 exactly where the model is wrong.
7. No number is NaN, and nothing but an upper bound is infinite.
8. The report has at least one sample, as many as its sample set counts, each once;
   labels and predictions are classes of the model and agree with the margin.
9. The Lipschitz bounds are about the model, not about the ball around one input.
10. What is said of the smoothed model is said of the same samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise

from robustcert.errors import ConsistencyError
from robustcert.results.attack import AttackRun
from robustcert.results.bound import Bracket, LowerBound, Scope, UpperBound
from robustcert.results.certificate import CertifierRun
from robustcert.results.report import (
    CurvePoint,
    ModelCard,
    Provenance,
    RobustnessReport,
    SampleRow,
)

ROUNDING = 1e-9
"""Relative slack of law 1: lower bounds are re-evaluated in float64, upper bounds are
rounded up, so only a tight pair (a linear net) can touch."""

CLEAN = "clean"
"""What breaks a sample that the model gets wrong without any perturbation."""

_SHOWN = 20


def check(report: RobustnessReport) -> None:
    """Raise unless ``report`` obeys every law.

    Raises:
        ConsistencyError: names the laws that are broken.
    """
    refuse(violations(report))


def refuse(broken: Iterable[str]) -> None:
    """Raise if anything is in ``broken``.

    Raises:
        ConsistencyError: names the laws that are broken, the first 20 of them.
    """
    found = list(broken)
    if found:
        more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
        listed = "; ".join(found[:_SHOWN] + more)
        raise ConsistencyError(f"the report contradicts itself: {listed}")


def violations(report: RobustnessReport) -> Iterator[str]:
    """One sentence for each law that ``report`` breaks."""
    yield from bracket_violations(report.lipschitz)
    yield from model_violations(report.model)
    yield from cost_violations((*report.attacks, *report.certifiers), report.provenance)
    yield from sample_violations(report)
    yield from smoothing_violations(report)
    for row in report.rows:
        yield from row_violations(row, report.model.classes)
    if report.rows:
        yield from curve_violations(report.curve, report.clean_accuracy)


def bracket_violations(bracket: Bracket) -> Iterator[str]:
    """Laws 1 and 9, and law 7 for bounds."""
    for upper in bracket.uppers:
        if upper.scope is Scope.BALL:
            yield f"{upper.method}'s upper bound holds in a ball, not for the model"
        for lower in bracket.lowers:
            comparable = upper.scope.covers(lower.scope)
            if comparable and not lower.value <= upper.value * (1.0 + ROUNDING):
                yield (
                    f"{lower.method} proves {lower.value}, above {upper.method}'s "
                    f"upper bound {upper.value}"
                )
    bounds: tuple[LowerBound | UpperBound, ...] = (*bracket.lowers, *bracket.uppers)
    for bound in bounds:
        if not math.isfinite(bound.seconds):
            yield f"{bound.method} took {bound.seconds} seconds"


def model_violations(model: ModelCard) -> Iterator[str]:
    """Law 7 for operator norms, which are upper bounds."""
    for layer in model.layers:
        norm = layer.operator_norm
        if norm is not None and not norm >= 0.0:
            yield f"layer {layer.name!r}: the operator norm is {norm}"


def cost_violations(
    runs: tuple[AttackRun | CertifierRun, ...], provenance: Provenance
) -> Iterator[str]:
    """Law 7 for what the evaluation cost."""
    for run in runs:
        if not math.isfinite(run.seconds):
            yield f"{run.name} took {run.seconds} seconds"
    if not math.isfinite(provenance.seconds):
        yield f"the evaluation took {provenance.seconds} seconds"


def sample_violations(report: RobustnessReport) -> Iterator[str]:
    """Law 8 for the sample set."""
    count = len(report.rows)
    if not count:
        yield "the report has no samples"
    if report.samples.count != count:
        yield f"{count} rows are given for {report.samples.count} samples"
    if len({row.index for row in report.rows}) != count:
        yield "a sample occurs twice"


def smoothing_violations(report: RobustnessReport) -> Iterator[str]:
    """Law 10; that each radius follows from its hits is the table's own law."""
    table, classes = report.smoothing, report.model.classes
    if table is None:
        return
    known = [(row.index, row.label) for row in report.rows]
    if [(row.index, row.label) for row in table.rows] != known:
        yield "the smoothed model was asked about other samples"
    for row in table.rows:
        if row.candidate is not None and not 0 <= row.candidate < classes:
            yield f"sample {row.index}: the smoothed class {row.candidate} is no class"
        if not 0 <= row.hits <= table.plan.draws:
            yield f"sample {row.index}: {row.hits} hits of {table.plan.draws} draws"


def curve_violations(curve: tuple[CurvePoint, ...], clean: float) -> Iterator[str]:
    """Laws 2, 3 and 5."""
    for point in curve:
        if not point.certified <= point.robust <= clean:
            yield (
                f"at epsilon {point.epsilon}: certified {point.certified}, "
                f"robust {point.robust}, clean {clean} are out of order"
            )
        if point.epsilon == 0.0 and not point.certified == point.robust == clean:
            yield "at epsilon 0 the accuracies differ from the clean accuracy"
    for here, there in pairwise(curve):
        if there.certified > here.certified or there.robust > here.robust:
            yield f"accuracy rises from epsilon {here.epsilon} to {there.epsilon}"


def row_violations(row: SampleRow, classes: int) -> Iterator[str]:
    """Laws 4, 6, 7 and 8 for one sample."""
    who = f"sample {row.index}"
    yield from (f"{who}: {what}" for what in _number_violations(row))
    yield from (f"{who}: {what}" for what in _class_violations(row, classes))
    yield from (f"{who}: {what}" for what in _settled_violations(row))


def _number_violations(row: SampleRow) -> Iterator[str]:
    if not math.isfinite(row.margin):
        yield f"the margin is {row.margin}"
    if not (math.isfinite(row.certified_radius) and row.certified_radius >= 0.0):
        yield f"the certified radius is {row.certified_radius}"
    distance = row.adversarial_distance
    if distance is not None and not (math.isfinite(distance) and distance >= 0.0):
        yield f"the adversarial distance is {distance}"


def _class_violations(row: SampleRow, classes: int) -> Iterator[str]:
    if row.index < 0:
        yield "the index is negative"
    if not (0 <= row.label < classes and 0 <= row.predicted < classes):
        yield f"label {row.label} or prediction {row.predicted} is no class"
    hit = row.predicted == row.label
    if (row.margin > 0.0 and not hit) or (row.margin < 0.0 and hit):
        yield (
            f"the margin {row.margin} contradicts prediction {row.predicted} "
            f"of label {row.label}"
        )


def _settled_violations(row: SampleRow) -> Iterator[str]:
    distance = row.adversarial_distance
    if row.certified_by is None and row.certified_radius > 0.0:
        yield "a radius without a certifier"
    if (distance is None) is not (row.broken_by is None):
        yield "a distance without an attack, or an attack without a distance"
    if (row.broken_by == CLEAN) is row.right:
        yield f"margin {row.margin}, yet broken by {row.broken_by}"
    if not row.right and (distance != 0.0 or row.certified_radius > 0.0):
        yield "the model is wrong, yet a distance or radius above 0 is claimed"
    if row.right and distance is not None and not distance > row.certified_radius:
        yield (
            f"broken by {row.broken_by} at {distance}, inside the radius "
            f"{row.certified_radius} certified by {row.certified_by}"
        )
