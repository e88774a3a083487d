"""From tensors to rows: what is known about each sample."""

from __future__ import annotations

from robustcert.evaluation.certification import Radii
from robustcert.evaluation.subject import Subject
from robustcert.results.attack import AdversarialExample
from robustcert.results.report import SampleRow


def sample_rows(
    subject: Subject,
    radii: Radii,
    examples: dict[int, AdversarialExample],
    start: int,
) -> tuple[SampleRow, ...]:
    """Rows of the samples from ``start`` on, as many as there are radii.

    Args:
        subject: model and samples.
        radii: of these samples.
        examples: by index in the whole sample set; misclassified samples need none.
        start: index of the first.
    """
    return tuple(
        _row(subject, start + offset, radius, radii.method[offset], examples)
        for offset, radius in enumerate(radii.radius.tolist())
    )


def _row(
    subject: Subject,
    index: int,
    radius: float,
    method: str | None,
    examples: dict[int, AdversarialExample],
) -> SampleRow:
    right = bool(subject.right[index])
    example = examples.get(index) if right else AdversarialExample(index, 0.0, "clean")
    return SampleRow(
        index=index,
        label=int(subject.samples.labels[index]),
        predicted=int(subject.predicted[index]),
        margin=float(subject.margins[index]),
        certified_radius=radius,
        certified_by=method,
        adversarial_distance=None if example is None else example.distance,
        broken_by=None if example is None else example.attack,
    )
