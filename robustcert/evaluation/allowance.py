"""How long the certifiers may think about a sample."""

from __future__ import annotations

from dataclasses import dataclass, field

from robustcert.certify.registry import DEAR
from robustcert.evaluation.plan import EvaluationPlan
from robustcert.evaluation.provenance import Clock
from robustcert.results.effort import CERTIFY_SECONDS, Effort

RADIUS_SHARE = 1.0
"""Times as much again for a sample's radius: its bisection takes as many looks as
verdicts at several epsilons."""

PART_OF_LIMIT = 0.5
"""Of what is left of the evaluation's time limit; attacks need the rest."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one sample may cost, beyond one look of each cheap certifier.

    Attributes:
        verdict: seconds for its verdicts at the epsilons asked for.
        radius: seconds for its certified radius.
        radius_by: names of certifiers that may spend them.
    """

    verdict: float
    radius: float
    radius_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Deadline:
    """When the evaluation's time limit ends it.

    Attributes:
        seconds: wall-clock limit of the evaluation, ``None`` where there is none.
        clock: when it began.
    """

    seconds: float | None = None
    clock: Clock = field(default_factory=Clock)

    def allowance(
        self, plan: EvaluationPlan, names: tuple[str, ...], waiting: int
    ) -> Allowance:
        """What each of the samples that wait may cost.

        Args:
            plan: says how many seconds, or how hard to try.
            names: the certifiers, cheapest first.
            waiting: samples that have not been certified yet, at least 1.
        """
        asked = plan.certify_seconds
        verdict = CERTIFY_SECONDS[plan.effort] if asked is None else asked
        if self.seconds is not None:
            left = max(0.0, self.seconds - self.clock.seconds)
            share = PART_OF_LIMIT * left / (waiting * (1.0 + RADIUS_SHARE))
            verdict = min(verdict, share)
        if plan.effort is Effort.FAST:
            names = tuple(name for name in names if name not in DEAR)
        return Allowance(verdict, RADIUS_SHARE * verdict, names)
