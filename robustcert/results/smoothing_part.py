"""What is written of a smoothed model, in its own document and in a report."""

from __future__ import annotations

from typing import Any

from robustcert.results.norm import Norm
from robustcert.results.smoothing import SmoothedSample, SmoothingTable
from robustcert.results.threat_model import ThreatSweep

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


def smoothing_parts(
    table: SmoothingTable, epsilons: tuple[float, ...]
) -> dict[str, Any]:
    """``smoothing``, ``failure_probability``, ``accuracy`` and ``rows``."""
    plan = table.plan
    return {
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
            "certified": [_point(table, epsilon) for epsilon in epsilons],
        },
        "rows": [_row(row) for row in table.rows],
    }


def report_part(table: SmoothingTable, threats: ThreatSweep) -> dict[str, Any]:
    """``smoothing`` of a report, at every half sigma and the radii asked for in L2."""
    parts = smoothing_parts(table, smoothed_epsilons(table, threats))
    return {
        "about": [*ABOUT],
        **parts["smoothing"],
        "seed": table.plan.seed,
        **{key: parts[key] for key in ("failure_probability", "accuracy", "rows")},
    }


def smoothed_epsilons(table: SmoothingTable, threats: ThreatSweep) -> tuple[float, ...]:
    """Radii in L2 at which a report states the smoothed model's accuracy, ascending."""
    asked = threats.epsilons if threats.norm is Norm.L2 else ()
    return tuple(sorted({*table.usual_epsilons, *asked}))


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
