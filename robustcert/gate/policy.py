"""The gate's policy: what to evaluate, and the rules that decide.

In ``robustcert.toml``, or under ``tool.robustcert`` in ``pyproject.toml``::

    [evaluate]
    samples = "holdout.npz"     # beside this file, or the name of a built-in set
    norm = "linf"
    count = 500
    tier = "standard"

    [[rule]]
    metric = "clean_accuracy"
    min = 0.95

    [[rule]]
    metric = "robust_accuracy"
    epsilon = 0.1
    min = 0.80

    [[rule]]
    metric = "lipschitz"
    max = 20.0

The epsilons of the rules are evaluated without being listed; ``epsilons`` under
``[evaluate]`` adds others to the report.
"""

from __future__ import annotations

import enum
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from robustcert.errors import InvalidThreatModelError, PolicyError
from robustcert.gate.policy_wire import EvaluateWire, PolicyWire, RuleWire
from robustcert.results.effort import Effort, Tier
from robustcert.results.norm import norm_from_word
from robustcert.results.threat_model import Box, ThreatSweep

PYPROJECT = "pyproject.toml"
SAMPLE_FILE = ".npz"


class Metric(enum.Enum):
    """What a rule is about."""

    CLEAN = "clean_accuracy"
    CERTIFIED = "certified_accuracy"
    ROBUST = "robust_accuracy"
    LIPSCHITZ = "lipschitz"

    @property
    def at_epsilon(self) -> bool:
        """Whether a rule about it names an epsilon."""
        return self in (Metric.CERTIFIED, Metric.ROBUST)


@dataclass(frozen=True, slots=True)
class Rule:
    """A threshold on one metric.

    Attributes:
        metric: what is compared.
        threshold: a minimum for accuracies (a share), a maximum for Lipschitz.
        epsilon: of certified and robust accuracy, ``None`` for the others.
        confidence: where given, the rule is about the distribution that the samples
            were drawn from, and Clopper-Pearson intervals are compared.
    """

    metric: Metric
    threshold: float
    epsilon: float | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What the rules are about.

    Attributes:
        samples: path of an .npz file, or the name of a built-in set.
        threats: norm, box, and every epsilon that is listed or named by a rule.
        count: the first ``count`` samples; ``None`` means all.
        tier: of the attacks.
        effort: of the Lipschitz bounds and the certifiers.
        seed: of every random step.
        certifiers: by name; empty means all that apply.
        certify_seconds: for each sample that cheap ones and attacks leave open;
            ``None`` means the effort's.
        attack_seconds: of all attacks together; what they leave is a finding.
        attack_queries: the same in forward and backward passes, per sample.
    """

    samples: str
    threats: ThreatSweep
    count: int | None = None
    tier: Tier = Tier.STANDARD
    effort: Effort = Effort.FAST
    seed: int = 0
    certifiers: tuple[str, ...] = ()
    certify_seconds: float | None = None
    attack_seconds: float | None = None
    attack_queries: int | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """What to evaluate, and at least one rule."""

    subject: Subject
    rules: tuple[Rule, ...]


def read_policy(path: Path) -> Policy:
    """The policy in the TOML file at ``path``; its sample file lies beside it.

    Raises:
        PolicyError: the file cannot be read; the message names the key.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PolicyError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise PolicyError(f"{path} is not TOML: {error}") from error
    if path.name == PYPROJECT:
        content = _tool_table(content, path)
    return policy_from(content, path.parent)


def _tool_table(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    tool = content.get("tool")
    table = tool.get("robustcert") if isinstance(tool, dict) else None
    if not isinstance(table, dict):
        raise PolicyError(f"{path} has no table tool.robustcert")
    return table


def policy_from(content: Mapping[str, Any], folder: Path | None = None) -> Policy:
    """The policy that ``content`` describes.

    Args:
        content: the tables ``evaluate`` and ``rule``.
        folder: where a sample file with a relative path lies.

    Raises:
        PolicyError: a key is missing, unknown or wrong; the message names it.
    """
    try:
        wire = PolicyWire.model_validate(dict(content))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise PolicyError(f"{_key(first['loc'])}: {first['msg']}") from error
    rules = tuple(_rule(rule, number) for number, rule in enumerate(wire.rule, start=1))
    epsilons = (*wire.evaluate.epsilons, *_epsilons(rules))
    return Policy(_subject(wire.evaluate, epsilons, folder), rules)


def _epsilons(rules: tuple[Rule, ...]) -> tuple[float, ...]:
    return tuple(rule.epsilon for rule in rules if rule.epsilon is not None)


def _subject(
    wire: EvaluateWire, epsilons: tuple[float, ...], folder: Path | None
) -> Subject:
    samples = wire.samples
    if folder is not None and samples.endswith(SAMPLE_FILE):
        samples = str(folder / samples)
    low, high = wire.box
    try:
        box = Box(low, high)
    except InvalidThreatModelError as error:
        raise PolicyError(f"evaluate.box: {error.message}") from error
    return Subject(
        samples=samples,
        threats=ThreatSweep(norm_from_word(wire.norm), epsilons or (0.0,), box),
        count=wire.count,
        tier=Tier(wire.tier),
        effort=Effort(wire.effort),
        seed=wire.seed,
        certifiers=tuple(wire.certifiers),
        certify_seconds=wire.certify_seconds,
        attack_seconds=wire.attack_seconds,
        attack_queries=wire.attack_queries,
    )


def _rule(wire: RuleWire, number: int) -> Rule:
    metric = Metric(wire.metric)
    side, other = ("max", "min") if metric is Metric.LIPSCHITZ else ("min", "max")
    threshold = getattr(wire, side)
    if threshold is None:
        raise _wrong(number, side, f"{metric.value} needs a {side}")
    if getattr(wire, other) is not None:
        raise _wrong(number, other, f"{metric.value} has a {side}, no {other}")
    if metric.at_epsilon and wire.epsilon is None:
        raise _wrong(number, "epsilon", f"{metric.value} needs an epsilon")
    if not metric.at_epsilon and wire.epsilon is not None:
        raise _wrong(number, "epsilon", f"{metric.value} has no epsilon")
    if metric is Metric.LIPSCHITZ and wire.confidence is not None:
        raise _wrong(number, "confidence", "lipschitz is not a share of samples")
    return Rule(metric, threshold, wire.epsilon, wire.confidence)


def _wrong(number: int, key: str, what: str) -> PolicyError:
    return PolicyError(f"rule {number}, {key}: {what}")


def _key(location: tuple[int | str, ...]) -> str:
    """``rule 2, min`` for ``("rule", 1, "min")``, ``evaluate.norm`` otherwise."""
    if len(location) > 1 and isinstance(location[1], int):
        rest = ".".join(map(str, location[2:]))
        return f"{location[0]} {location[1] + 1}" + (f", {rest}" if rest else "")
    return ".".join(map(str, location))
