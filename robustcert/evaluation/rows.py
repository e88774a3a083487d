"""From tensors to rows: what is known about each sample."""

from __future__ import annotations

import math

from robustcert.evaluation.standing import Standing
from robustcert.evaluation.subject import Subject
from robustcert.results.consistency import refuse, row_violations
from robustcert.results.report import SampleRow


def sample_rows(
    subject: Subject, standing: Standing, start: int
) -> tuple[SampleRow, ...]:
    """Rows of the samples from ``start`` on, which obey the laws.

    Args:
        subject: model and samples.
        standing: of these samples.
        start: index of the first.

    Raises:
        ConsistencyError: a certificate and an example contradict each other.
    """
    rows = tuple(_row(subject, standing, start, row) for row in range(len(standing)))
    classes = subject.read.model.classes
    refuse(broken for row in rows for broken in row_violations(row, classes))
    return rows


def _row(subject: Subject, standing: Standing, start: int, place: int) -> SampleRow:
    index, distance = start + place, float(standing.distance[place])
    return SampleRow(
        index=index,
        label=int(subject.samples.labels[index]),
        predicted=int(subject.predicted[index]),
        margin=float(subject.margins[index]),
        certified_radius=float(standing.radius[place]),
        certified_by=standing.certified_by[place],
        adversarial_distance=None if math.isinf(distance) else distance,
        broken_by=standing.broken_by[place],
    )
