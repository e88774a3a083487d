"""Smoothing reports as versioned JSON documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from robustcert.results.document_write import model_part, provenance_part, samples_part
from robustcert.results.norm import Norm
from robustcert.results.report import ModelCard, Provenance, SampleSetCard
from robustcert.results.smoothing import SmoothedSample, SmoothingTable

SMOOTHING_SCHEMA = "robustcert/smoothing/v1"

ABOUT = (
    "Every statement is about the smoothed model, which gives the class that the base "
    "model gives most often under Gaussian noise; none is about the base model.",
    "Radii are in L2 over all inputs: noise and perturbations may leave the box, and "
    "the base model is run there.",
    "A radius is wrong with the stated probability at most, over the draws of the "
    "noise; the generator's numbers are taken for random and independent.",
    "The noise and its sum with the input are rounded to the model's floating-point "
    "grid; what an adversary can make of that rounding is not covered (Jin, Ohrimenko, "
    "Rubinstein 2022; Voracek, Hein 2023).",
)
"""What a reader of the document must know."""


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
    table, plan = report.table, report.table.plan
    return {
        "schema": SMOOTHING_SCHEMA,
        "about": [*ABOUT],
        "base_model": model_part(report.base),
        "samples": samples_part(report.samples),
        "smoothing": {
            "norm": Norm.L2.word,
            "sigma": plan.sigma,
            "n0": plan.selection,
            "n": plan.draws,
            "alpha": plan.alpha,
            "largest_radius": plan.largest_radius,
        },
        "failure_probability": {
            "sample": plan.alpha,
            "table": table.failure_probability,
        },
        "accuracy": {
            "abstained": table.abstained,
            "certified": [_point(table, epsilon) for epsilon in report.epsilons],
        },
        "rows": [_row(row) for row in table.rows],
        "provenance": provenance_part(report.provenance),
    }


def _point(table: SmoothingTable, epsilon: float) -> dict[str, Any]:
    return {
        "epsilon": epsilon,
        "accuracy": table.certified_accuracy(epsilon),
        "interval": [*table.interval(epsilon)],
    }


def _row(row: SmoothedSample) -> dict[str, Any]:
    return {
        "index": row.index,
        "label": row.label,
        "candidate": row.candidate,
        "hits": row.hits,
        "abstained": row.abstained,
        "radius": row.radius,
    }
