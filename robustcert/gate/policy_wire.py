"""The shape of a policy file, as pydantic models: a key that is not known is refused.

A misspelt key would silently switch a rule off, so nothing is ignored here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Radius = Annotated[float, Field(ge=0.0)]


class Wire(BaseModel):
    """Strict types, finite numbers, no unknown key."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", allow_inf_nan=False
    )


class EvaluateWire(Wire):
    """The table ``[evaluate]``: what is measured."""

    samples: Annotated[str, Field(min_length=1)]
    norm: Literal["l2", "linf"]
    epsilons: list[Radius] = []
    box: Annotated[list[float], Field(min_length=2, max_length=2)] = [0.0, 1.0]
    count: Annotated[int, Field(ge=1)] | None = None
    tier: Literal["quick", "standard", "thorough"] = "standard"
    effort: Literal["fast", "tight", "max"] = "fast"
    certifiers: list[str] = []
    certify_seconds: Radius | None = None
    attack_seconds: Radius | None = None
    attack_queries: Annotated[int, Field(ge=0)] | None = None
    seed: int = 0


class RuleWire(Wire):
    """One table ``[[rule]]``: a threshold on one metric."""

    metric: Literal[
        "clean_accuracy", "certified_accuracy", "robust_accuracy", "lipschitz"
    ]
    epsilon: Radius | None = None
    min: Share | None = None
    max: Radius | None = None
    confidence: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None


class PolicyWire(Wire):
    """The whole policy."""

    evaluate: EvaluateWire
    rule: Annotated[list[RuleWire], Field(min_length=1)]
