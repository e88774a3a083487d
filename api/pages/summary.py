"""A report in a few lines, for the page of its evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from robustcert.formats.sentences import (
    bracket_sentence,
    headline,
    ranked,
    shown_band,
    unreliable,
)
from robustcert.results.document import from_json
from robustcert.results.numbers import exact
from robustcert.results.report import CurvePoint, Finding

_MOST_FINDINGS = 6


@dataclass(frozen=True, slots=True)
class Band:
    """One epsilon: what is certified, what is open, what is broken.

    Attributes:
        epsilon: as it is shown.
        certified: the certified accuracy as shown, rounded down.
        robust: the robust accuracy as shown, rounded up.
        low: certified accuracy in percent, for the drawing.
        high: robust accuracy in percent, for the drawing.
    """

    epsilon: str
    certified: str
    robust: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Summary:
    """What a reader wants to know first."""

    headline: str
    bracket: str
    clean: float
    samples: int
    norm: str
    bands: tuple[Band, ...]
    findings: tuple[Finding, ...]
    more_findings: int
    unreliable: bool


def summary_of(document: bytes) -> Summary:
    """The summary of the report in the stored ``document``.

    Raises:
        DocumentError: the document cannot be read.
    """
    report = from_json(document)
    findings = ranked(report.findings)
    return Summary(
        headline=headline(report),
        bracket=bracket_sentence(report.lipschitz),
        clean=report.clean_accuracy,
        samples=len(report.rows),
        norm=report.threats.norm.word,
        bands=tuple(map(_band, report.curve)),
        findings=findings[:_MOST_FINDINGS],
        more_findings=max(0, len(findings) - _MOST_FINDINGS),
        unreliable=unreliable(report),
    )


def _band(point: CurvePoint) -> Band:
    certified, robust = shown_band(point)
    return Band(
        exact(point.epsilon),
        certified,
        robust,
        100.0 * point.certified,
        100.0 * point.robust,
    )
