"""What a whole run of attacks may cost, and what is left undone once it is spent."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from robustcert.errors import UsageError
from robustcert.results.report import Finding, Level

SPENT = "budget-spent"
"""The rule of the finding about samples that a spent budget left."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits on all attacks together; ``None`` where there is none.

    They are looked at between chunks of samples, so the last chunk may overdraw them.

    Attributes:
        seconds: wall-clock time spent in attacks, at least 0.
        queries: forward and backward passes, counted per sample, at least 0.
    """

    seconds: float | None = None
    queries: int | None = None

    def __post_init__(self) -> None:
        for amount, unit in ((self.seconds, "seconds"), (self.queries, "queries")):
            if amount is not None and not (amount >= 0 and math.isfinite(amount)):
                raise UsageError(
                    f"the attack budget is {amount} {unit}",
                    remedy="Give a finite budget of at least 0, or none at all.",
                )

    def allows(self, seconds: float, queries: int) -> bool:
        """Whether there is something left once this much is spent."""
        late = self.seconds is not None and seconds >= self.seconds
        return not late and (self.queries is None or queries < self.queries)

    def less(self, seconds: float, queries: int) -> Budget:
        """What is left of it once this much is spent."""
        return Budget(
            None if self.seconds is None else max(0.0, self.seconds - seconds),
            None if self.queries is None else max(0, self.queries - queries),
        )

    def share(self, part: int, whole: int) -> Budget:
        """The share of ``part`` samples out of ``whole``."""
        return Budget(
            None if self.seconds is None else self.seconds * part / whole,
            None if self.queries is None else self.queries * part // whole,
        )


UNLIMITED = Budget()


@dataclass(frozen=True, slots=True)
class Leftover:
    """What a spent budget left undone.

    Attributes:
        unfinished: samples that have not been through every attack at every radius.
        untried: those among them that no attack saw: they withstood nothing.
    """

    unfinished: int = 0
    untried: int = 0

    def __add__(self, other: Leftover) -> Leftover:
        return Leftover(
            self.unfinished + other.unfinished, self.untried + other.untried
        )

    def findings(self, samples: int) -> Iterator[Finding]:
        """A warning where anything was left of ``samples`` samples."""
        if self.unfinished:
            yield Finding(
                SPENT,
                Level.WARNING,
                f"The attack budget was spent before {self.unfinished} of {samples} "
                f"samples had been through every attack; {self.untried} of them were "
                "not attacked at all. Those count as not broken, yet they withstood "
                "nothing: the robust accuracy is only an upper bound.",
                "Raise the budget (--attack-seconds, --attack-queries), or evaluate "
                "fewer samples.",
            )


NOTHING_LEFT = Leftover()
