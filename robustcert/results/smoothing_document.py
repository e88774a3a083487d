"""Smoothing reports as versioned JSON documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from robustcert.results.document_write import model_part, provenance_part, samples_part
from robustcert.results.report import ModelCard, Provenance, SampleSetCard
from robustcert.results.smoothing import SmoothingTable
from robustcert.results.smoothing_part import ABOUT, smoothing_parts

SMOOTHING_SCHEMA = "robustcert/smoothing/v1"


@dataclass(frozen=True, slots=True)
class SmoothingReport:
    """A table, and what it is about.

    Attributes:
        base: the model in the file, which was smoothed.
        samples: the samples.
        table: what was found.
        epsilons: radii in input units at which accuracy is stated, ascending.
        provenance: how it came about.
    """

    base: ModelCard
    samples: SampleSetCard
    table: SmoothingTable
    epsilons: tuple[float, ...]
    provenance: Provenance


def smoothing_document(report: SmoothingReport) -> dict[str, Any]:
    """The document ``robustcert/smoothing/v1``; every share lies in [0, 1]."""
    return {
        "schema": SMOOTHING_SCHEMA,
        "about": [*ABOUT],
        "base_model": model_part(report.base),
        "samples": samples_part(report.samples),
        **smoothing_parts(report.table, report.epsilons),
        "provenance": provenance_part(report.provenance),
    }
