"""What the certifiers' time did not suffice for."""

from __future__ import annotations

from collections.abc import Iterator

from robustcert.evaluation.judging import Bench
from robustcert.results.report import Finding, Level
from robustcert.results.threat_model import ThreatSweep

SPENT = "certify-time-spent"
"""The rule of the finding about samples that ran out of the certifiers' time."""


def unsettled(bench: Bench, threats: ThreatSweep) -> int:
    """Samples that are undecided at some epsilon and whose time did not suffice."""
    late = {
        row
        for epsilon in threats.epsilons
        for row in bench.standing.open_at(epsilon).tolist()
        if bench.left[row] <= 0.0 or row in bench.late
    }
    return len(late)


def time_spent(late: int, samples: int) -> Iterator[Finding]:
    """A note where ``late`` of ``samples`` samples ran out of time."""
    if late:
        yield Finding(
            SPENT,
            Level.NOTE,
            f"The certifiers' time was spent before {late} of {samples} samples were "
            "settled; at some epsilon these are neither certified nor broken.",
            "Give certifiers more time (--certify-seconds, or a higher --effort), or "
            "evaluate fewer samples.",
        )
