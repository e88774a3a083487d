"""What to run: the one description that command line, client and service share."""

from __future__ import annotations

import math
from dataclasses import dataclass

from robustcert.attacks.budget import UNLIMITED, Budget
from robustcert.errors import UsageError
from robustcert.results.effort import Effort, Tier
from robustcert.results.smoothing import SmoothingPlan
from robustcert.results.threat_model import ThreatSweep


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """One evaluation of one model on one sample set.

    Attributes:
        threats: norm, epsilons, box.
        count: the first ``count`` samples are used; ``None`` means all.
        tier: the attacks, unless ``attacks`` names them.
        effort: the Lipschitz bounds, and what certifiers may cost.
        seed: of every random step.
        attacks: names from the catalogue; empty means the tier's.
        certifiers: names from the registry; empty means all that apply.
        certify_seconds: what certifiers may spend on each sample that cheap ones and
            attacks left open; ``None`` means the effort's.
        budget: of all attacks together.
        smoothing: of the smoothed model, in a part of its own; ``None`` leaves it out.
    """

    threats: ThreatSweep
    count: int | None = None
    tier: Tier = Tier.STANDARD
    effort: Effort = Effort.FAST
    seed: int = 0
    attacks: tuple[str, ...] = ()
    certifiers: tuple[str, ...] = ()
    certify_seconds: float | None = None
    budget: Budget = UNLIMITED
    smoothing: SmoothingPlan | None = None

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise UsageError(
                f"count is {self.count}", remedy="Ask for at least one sample."
            )
        seconds = self.certify_seconds
        if seconds is not None and not (math.isfinite(seconds) and seconds >= 0.0):
            raise UsageError(
                f"the certifiers' time is {seconds} seconds a sample",
                remedy="Give finite seconds of at least 0.",
            )
