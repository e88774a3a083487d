"""Numbers that move while a net is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

from robustcert.errors import UsageError
from robustcert.train.interface import Moment


@dataclass(frozen=True, slots=True)
class Ramp:
    """From ``first`` to ``last`` in a straight line, then ``last``.

    Attributes:
        first: at the first step.
        last: from ``share`` on.
        share: of the training at which ``last`` is reached, in [0, 1].
    """

    first: float
    last: float
    share: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise UsageError(
                f"a ramp cannot take {self.share} of the training",
                remedy="Give a share between 0 and 1.",
            )
        if not (math.isfinite(self.first) and math.isfinite(self.last)):
            raise UsageError(
                f"a ramp cannot lead from {self.first} to {self.last}",
                remedy="Give finite numbers.",
            )

    def at(self, moment: Moment) -> float:
        """The number at this step."""
        if moment.done >= self.share:
            return self.last
        return self.first + (self.last - self.first) * moment.done / self.share
