"""What a campaign keeps of each attack, and what it does at each radius."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from robustcert.attacks.counting import QueryCount
from robustcert.attacks.headway import Headway
from robustcert.attacks.interface import Attack
from robustcert.attacks.rung import Patience
from robustcert.results.attack import AttackRun
from robustcert.results.threat_model import ThreatModel, ThreatSweep


@dataclass(slots=True)
class Tally:
    """One attack on its way: its patience, and its running cost and yield.

    Attributes:
        attack: of the catalogue.
        patience: how long it goes on without a break.
        seen: samples it was run on.
        broken: samples it was the first to break, at one radius or more.
        headway: how far its candidates got, where it looks within epsilon.
    """

    attack: Attack
    patience: Patience
    seen: set[int] = field(default_factory=set)
    broken: set[int] = field(default_factory=set)
    headway: Headway = field(default_factory=Headway)
    queries: QueryCount = field(default_factory=QueryCount)
    unverified: int = 0
    non_finite: int = 0
    seconds: float = 0.0

    def as_run(self) -> AttackRun:
        """The final record."""
        return AttackRun(
            self.attack.name,
            len(self.broken),
            self.queries.forward,
            self.queries.backward,
            self.seconds,
            self.unverified,
            len(self.seen),
        )


@dataclass(frozen=True, slots=True)
class Level:
    """One radius of a sweep.

    Attributes:
        threat: at this radius.
        threats: the whole sweep.
        first: place of the first attack that runs.
    """

    threat: ThreatModel
    threats: ThreatSweep
    first: int

    def goal(self, attack: Attack) -> ThreatModel:
        """What an attack is told: minimal ones serve every radius at once."""
        return self.threats.largest if attack.minimal else self.threat

    def waits_below(self, distances: Tensor) -> Tensor:
        """``(N,)`` bool: whether the sweep has a radius in (0, distance)."""
        smallest = min(e for e in self.threats.epsilons if e > 0.0)
        return distances > smallest
