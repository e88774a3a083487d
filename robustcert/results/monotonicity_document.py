"""Monotonicity reports as versioned JSON documents."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from robustcert.results.consistency import (
    ROUNDING,
    bracket_violations,
    model_violations,
    refuse,
)
from robustcert.results.document_write import (
    lipschitz_part,
    model_part,
    provenance_part,
    witness_part,
)
from robustcert.results.monotonicity import MonotonicityReport

MONOTONICITY_SCHEMA = "robustcert/monotonicity/v1"


def monotonicity_document(report: MonotonicityReport) -> dict[str, Any]:
    """The document ``robustcert/monotonicity/v1``; what is not known is null.

    Raises:
        ConsistencyError: a lower bound lies above an upper bound.
    """
    refuse(_violations(report))
    least, most = report.at_least, report.at_most
    return {
        "schema": MONOTONICITY_SCHEMA,
        "model": model_part(report.model),
        "displacement": lipschitz_part(report.displacement),
        "monotonicity": {
            "at_least": least if math.isfinite(least) else None,
            "at_most": {"value": most.value, "witness": witness_part(most.witness)},
        },
        "provenance": provenance_part(report.provenance),
    }


def _violations(report: MonotonicityReport) -> Iterator[str]:
    yield from bracket_violations(report.displacement)
    yield from model_violations(report.model)
    least, most = report.at_least, report.at_most.value
    if not least <= most + ROUNDING * (1.0 + abs(most)):
        yield f"the map is {least}-monotone, but a pair attains {most}"
