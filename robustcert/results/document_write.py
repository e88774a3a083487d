"""The parts of a document, written from the records they stand for."""

from __future__ import annotations

import math
from typing import Any

from robustcert.results.attack import AttackRun
from robustcert.results.bound import Bracket, LowerBound, UpperBound, Witness
from robustcert.results.certificate import CertifierRun
from robustcert.results.report import (
    CurvePoint,
    Finding,
    Level,
    ModelCard,
    Provenance,
    SampleRow,
    SampleSetCard,
    accuracy_curve,
)
from robustcert.results.threat_model import ThreatSweep

Part = dict[str, Any]

UNBOUNDED = "lipschitz-unbounded"
"""The rule of the finding that says why an upper bound is null."""

WITNESS_LIMIT = 4096
"""A witness is written out up to this many coordinates a point (3 x 32 x 32 fits)."""

_NAMED = 3


def model_part(model: ModelCard) -> Part:
    """``model``."""
    return {
        "sha256": model.sha256,
        "format": model.format,
        "input_shape": list(model.input_shape),
        "classes": model.classes,
        "parameters": model.parameters,
        "output": model.output.value,
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "shape": list(layer.shape),
                "operator_norm": _finite(layer.operator_norm),
            }
            for layer in model.layers
        ],
        "unsupported": [
            {"layer": gap.layer, "reason": gap.reason} for gap in model.unsupported
        ],
    }


def samples_part(samples: SampleSetCard) -> Part:
    """``samples``."""
    return {
        "name": samples.name,
        "sha256": samples.sha256,
        "count": samples.count,
        "seed": samples.seed,
    }


def threat_part(threats: ThreatSweep) -> Part:
    """``threat_model``."""
    return {
        "norm": threats.norm.word,
        "epsilons": list(threats.epsilons),
        "box": [threats.box.low, threats.box.high],
    }


def lipschitz_part(bracket: Bracket) -> Part:
    """``lipschitz``; an unbounded value is null."""
    lower, upper = bracket.lower, bracket.upper
    return {
        "norm": bracket.norm.word,
        "scope": bracket.scope.value,
        "lower": {
            "value": lower.value if lower else None,
            "method": lower.method if lower else None,
            "witness": witness_part(lower.witness) if lower else None,
        },
        "upper": {
            "value": _finite(upper.value) if upper else None,
            "method": upper.method if upper else None,
        },
        "bounds": [
            *(_bound_part("lower", bound) for bound in bracket.lowers),
            *(_bound_part("upper", bound) for bound in bracket.uppers),
        ],
        "refused": [
            {"method": gap.method, "layer": gap.layer, "reason": gap.reason}
            for gap in bracket.refused
        ],
    }


def witness_part(witness: Witness) -> Part | None:
    """The pair; ``None`` where it has more than :data:`WITNESS_LIMIT` coordinates."""
    if not 0 < len(witness.first) <= WITNESS_LIMIT:
        return None
    return {
        "first": list(witness.first),
        "second": list(witness.second),
        "ratio": witness.ratio,
    }


def _bound_part(side: str, bound: LowerBound | UpperBound) -> Part:
    return {
        "side": side,
        "method": bound.method,
        "value": _finite(bound.value),
        "seconds": bound.seconds,
        "sound": True,  # lower and upper bounds are proved, or they have another type
        "scope": bound.scope.value,
        "gap": bound.gap if isinstance(bound, UpperBound) else None,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def accuracy_part(rows: tuple[SampleRow, ...], epsilons: tuple[float, ...]) -> Part:
    """``accuracy``, computed from the rows."""
    return {
        "clean": sum(row.right for row in rows) / len(rows),
        "curve": [_point_part(point) for point in accuracy_curve(rows, epsilons)],
    }


def _point_part(point: CurvePoint) -> Part:
    return {
        "epsilon": point.epsilon,
        "certified": point.certified,
        "robust": point.robust,
        "certified_interval": list(point.certified_interval),
        "robust_interval": list(point.robust_interval),
    }


def row_part(row: SampleRow, epsilons: tuple[float, ...]) -> Part:
    """One entry of ``per_sample``."""
    return {
        "index": row.index,
        "label": row.label,
        "predicted": row.predicted,
        "margin": row.margin,
        "certified_radius": row.certified_radius,
        "certified_by": row.certified_by,
        "adversarial_distance": row.adversarial_distance,
        "broken_by": row.broken_by,
        "at": [
            {
                "epsilon": epsilon,
                "verdict": row.verdict(epsilon).value,
                "by": row.settled_by(epsilon),
            }
            for epsilon in epsilons
        ],
    }


def attack_part(run: AttackRun) -> Part:
    """One entry of ``attacks``."""
    return {
        "name": run.name,
        "broken": run.broken,
        "forward_queries": run.forward_queries,
        "backward_queries": run.backward_queries,
        "seconds": run.seconds,
        "unverified": run.unverified,
        "attacked": run.attacked,
    }


def certifier_part(run: CertifierRun) -> Part:
    """One entry of ``certifiers``."""
    return {
        "name": run.name,
        "samples": run.samples,
        "balls": run.balls,
        "proved": run.proved,
        "broken": run.broken,
        "unverified": run.unverified,
        "seconds": run.seconds,
    }


def finding_part(finding: Finding) -> Part:
    """One entry of ``findings``."""
    return {
        "rule": finding.rule,
        "level": finding.level.value,
        "message": finding.message,
        "remedy": finding.remedy,
    }


def provenance_part(provenance: Provenance) -> Part:
    """``provenance``."""
    return {
        "versions": dict(sorted(provenance.versions.items())),
        "seed": provenance.seed,
        "device": provenance.device,
        "dtype": provenance.dtype,
        "threads": provenance.threads,
        "started": provenance.started,
        "seconds": provenance.seconds,
        "sandbox": list(provenance.sandbox),
        "cache": {"hits": provenance.cache.hits, "misses": provenance.cache.misses},
    }


def explained(findings: tuple[Finding, ...], bracket: Bracket) -> tuple[Finding, ...]:
    """``findings``, and one more where an upper bound is null and none says why."""
    if any(finding.rule == UNBOUNDED for finding in findings):
        return findings
    upper = bracket.upper
    if upper is None or math.isinf(upper.value):
        return (*findings, _unbounded(bracket))
    vacuous = [bound.method for bound in bracket.uppers if math.isinf(bound.value)]
    if vacuous:
        names = ", ".join(vacuous)
        message = f"These methods gave no finite upper bound: {names}."
        remedy = f"Read the bound of {upper.method}, which is finite."
        return (*findings, Finding(UNBOUNDED, Level.NOTE, message, remedy))
    return findings


def _unbounded(bracket: Bracket) -> Finding:
    reasons = [
        *(f"{bound.method} overflowed" for bound in bracket.uppers),
        *(
            f"{gap.method} refused layer {gap.layer!r} ({gap.reason})"
            for gap in bracket.refused
        ),
    ]
    more = len(reasons) - _NAMED
    named = reasons[:_NAMED] + ([f"{more} more did so too"] if more > 0 else [])
    why = "; ".join(named) or "no method was run"
    return Finding(
        UNBOUNDED,
        Level.WARNING,
        f"No finite upper bound of the Lipschitz constant is known: {why}.",
        "Treat the constant as unbounded from above; lower bounds still hold.",
    )
