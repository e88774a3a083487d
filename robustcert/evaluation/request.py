"""An evaluation as JSON: what crosses the border of the child process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from robustcert.attacks.budget import Budget
from robustcert.evaluation.plan import EvaluationPlan
from robustcert.results.effort import Effort, Tier
from robustcert.results.norm import norm_from_word
from robustcert.results.smoothing import SmoothingPlan
from robustcert.results.threat_model import Box, ThreatSweep


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """A plan, and where its model and samples lie.

    Attributes:
        model: path of the model's file, or a built-in model's name.
        samples: path of an .npz file, or a built-in set's name.
        sample_name: what the report calls the samples; empty: their file's name.
        input_shape: without the batch, or ``None``.
        plan: what to run.
        checkpoints: folder that keeps finished parts; empty: they are not kept.
        seconds: wall-clock limit of the whole, which certifiers stay clear of;
            ``None`` where there is none.
    """

    model: str
    samples: str
    plan: EvaluationPlan
    sample_name: str = ""
    input_shape: tuple[int, ...] | None = None
    checkpoints: str = ""
    seconds: float | None = None


def to_request(request: EvaluationRequest) -> dict[str, Any]:
    """The request as JSON."""
    return {
        "model": request.model,
        "samples": request.samples,
        "sample_name": request.sample_name,
        "input_shape": None if request.input_shape is None else [*request.input_shape],
        "checkpoints": request.checkpoints,
        "seconds": request.seconds,
        "smoothing": _smoothing_part(request.plan.smoothing),
        **plan_part(request.plan),
    }


def _smoothing_part(plan: SmoothingPlan | None) -> dict[str, Any] | None:
    return None if plan is None else asdict(plan)


def plan_part(plan: EvaluationPlan) -> dict[str, Any]:
    """What shards are computed by, as JSON; the smoothed model is none of it."""
    threats, budget = plan.threats, plan.budget
    return {
        "norm": threats.norm.word,
        "epsilons": [*threats.epsilons],
        "box": [threats.box.low, threats.box.high],
        "count": plan.count,
        "tier": plan.tier.value,
        "effort": plan.effort.value,
        "seed": plan.seed,
        "attacks": [*plan.attacks],
        "certifiers": [*plan.certifiers],
        "certify_seconds": plan.certify_seconds,
        "attack_seconds": budget.seconds,
        "attack_queries": budget.queries,
    }


def from_request(request: Mapping[str, Any]) -> EvaluationRequest:
    """The request in JSON; the inverse of :func:`to_request`.

    Raises:
        UsageError: the plan is no plan.
    """
    shape, smoothing = request["input_shape"], request["smoothing"]
    threats = ThreatSweep(
        norm_from_word(request["norm"]),
        tuple(float(epsilon) for epsilon in request["epsilons"]),
        Box(*(float(end) for end in request["box"])),
    )
    plan = EvaluationPlan(
        threats=threats,
        count=request["count"],
        tier=Tier(request["tier"]),
        effort=Effort(request["effort"]),
        seed=int(request["seed"]),
        attacks=tuple(request["attacks"]),
        certifiers=tuple(request["certifiers"]),
        certify_seconds=request["certify_seconds"],
        budget=Budget(request["attack_seconds"], request["attack_queries"]),
        smoothing=None if smoothing is None else SmoothingPlan(**smoothing),
    )
    return EvaluationRequest(
        model=request["model"],
        samples=request["samples"],
        plan=plan,
        sample_name=request["sample_name"],
        input_shape=None if shape is None else tuple(shape),
        checkpoints=request["checkpoints"],
        seconds=request["seconds"],
    )
