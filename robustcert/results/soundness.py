"""Which findings make a robust accuracy unreliable, and which attacks settle them.

A robust accuracy is an upper bound that holds however weak the attacks were. It is
*unreliable* where something is known to have hindered them and nothing was done about
it: then the truth may lie far below, and no gate passes on it. Certificates and
verified examples keep their meaning.
"""

from __future__ import annotations

from robustcert.results.report import Finding, Level, RobustnessReport

MASKED_SHARE = 0.02
"""Gradients mislead, and the search has not settled, where the last attack that does
without them still breaks more than this share of the samples."""

STAND_INS = frozenset({"straight-through", "transfer"})
"""Attacks that climb something other than the model's own gradients."""

_BLIND = ("straight-through", "transfer", "square")

RESOLVED_BY: dict[str, tuple[str, ...]] = {
    "batch-interaction": ("one-by-one",),
    "epsilon-idle": _BLIND,
    "gradient-masking": _BLIND,
    "huge-epsilon": _BLIND,
    "iterates-still": _BLIND,
    "loss-stalls": _BLIND,
    "non-finite-gradients": _BLIND,
    "quantised-input": _BLIND,
    "saturated-output": ("straight-through",),
    "shattered-gradients": _BLIND,
    "vanishing-gradients": _BLIND,
    "zero-gradients": _BLIND,
}
"""By finding, the attacks that do not depend on what is wrong. Once all of them ran, or
nothing is left to attack, the finding is resolved."""

UNRELIABLE = frozenset({*RESOLVED_BY, "random-output", "budget-spent"})
"""Findings that make the robust accuracy unreliable while they are unresolved. Nothing
resolves ``random-output``, where each answer is another draw, or ``budget-spent``. Any
finding of level error does the same, whatever its rule."""


def doubts(report: RobustnessReport) -> tuple[Finding, ...]:
    """The findings that make ``report`` unreliable, in their order."""
    ran = frozenset(run.name for run in report.attacks if run.attacked)
    open_still = any(point.robust > point.certified for point in report.curve)
    return tuple(
        one
        for one in report.findings
        if (open_still or one.rule not in RESOLVED_BY) and _unresolved(one, ran)
    )


def _unresolved(finding: Finding, ran: frozenset[str]) -> bool:
    if finding.level is Level.ERROR:
        return True
    if finding.rule not in UNRELIABLE:
        return False
    resolving = RESOLVED_BY.get(finding.rule, ())
    return not resolving or not ran.issuperset(resolving)
