"""lambda as a Lagrange multiplier: a constraint is kept, the rest is minimised."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from robustcert.errors import UsageError
from robustcert.train.interface import Observed, State

Violation = Callable[[Observed], float]
"""By how much a constraint is broken; negative where there is room. NaN: unknown."""

_LEAST = 1e-9
"""A multiplier never quite vanishes: a penalty of weight 0 would not be measured."""


def penalty_above(limit: float) -> Violation:
    """The penalty, such as a Lipschitz constant, shall be at most ``limit``."""
    return lambda observed: observed.penalty - limit


def loss_above(limit: float) -> Violation:
    """The fit's loss shall be at most ``limit``."""
    return lambda observed: observed.loss - limit


def accuracy_below(target: float) -> Violation:
    """The training accuracy shall be at least ``target``.

    Only the multiplier sees the accuracy; the steps differentiate the loss.
    """
    return lambda observed: target - observed.accuracy


@dataclass(frozen=True, slots=True)
class Ascent:
    """How a Lagrange multiplier climbs.

    Attributes:
        rate: times the violation, added at each step.
        start: of the multiplier.
        most: of the multiplier; a constraint that nobody can keep would drive it
            beyond all bounds.

    Raises:
        UsageError: a number is out of its range.
    """

    rate: float
    start: float
    most: float = 1e6

    def __post_init__(self) -> None:
        """Refuse a multiplier that cannot climb."""
        if not (math.isfinite(self.rate) and self.rate > 0.0):
            raise UsageError(
                f"the rate {self.rate} of a multiplier is not above 0",
                remedy="Give a finite rate above 0.",
            )
        if not _LEAST <= self.start <= self.most:
            raise UsageError(
                f"a multiplier cannot start at {self.start}",
                remedy=f"Start between {_LEAST} and {self.most}.",
            )


class PenaltyMultiplier:
    """Dual ascent for the fit, subject to a constraint on the penalty.

    The Lagrangian is ``fit + lambda (penalty - limit)``; after each step lambda climbs
    by the violation. It is the weight.

    Reference:
        Cervino, Chamon, Haeffele, Vidal, Ribeiro. Learning Globally Smooth Functions
            on Manifolds. ICML 2023, arXiv 2210.00301: the multipliers' updates.
    """

    def __init__(self, violation: Violation, ascent: Ascent) -> None:
        self._multiplier = _Multiplier(violation, ascent)

    @property
    def value(self) -> float:
        """The multiplier lambda."""
        return self._multiplier.value

    def after_step(self, observed: Observed) -> None:
        """Climb by the violation.

        Raises:
            UsageError: the constraint was not measured.
        """
        self._multiplier.climb(observed)

    def after_epoch(self, observed: Observed) -> None:
        """Nothing more changes."""

    def state(self) -> State:
        """The multiplier."""
        return self._multiplier.state()

    def restore(self, state: State) -> None:
        """Go on from a ``state``."""
        self._multiplier.restore(state)


class FitMultiplier:
    """Dual ascent for the penalty, subject to a constraint on the fit.

    The Lagrangian ``penalty + mu (fit - limit)``, divided by mu, is the step's
    objective: the weight is ``1 / mu``. It falls while the constraint is broken and
    rises while there is room.

    Reference:
        Cervino et al., as above: the Lipschitz constant is the objective, the risk is
            bounded.
    """

    def __init__(self, violation: Violation, ascent: Ascent) -> None:
        self._multiplier = _Multiplier(violation, ascent)

    @property
    def value(self) -> float:
        """``1 / mu``."""
        return 1.0 / self._multiplier.value

    def after_step(self, observed: Observed) -> None:
        """Climb by the violation.

        Raises:
            UsageError: the constraint was not measured.
        """
        self._multiplier.climb(observed)

    def after_epoch(self, observed: Observed) -> None:
        """Nothing more changes."""

    def state(self) -> State:
        """The multiplier."""
        return self._multiplier.state()

    def restore(self, state: State) -> None:
        """Go on from a ``state``."""
        self._multiplier.restore(state)


class _Multiplier:
    """``max(0, multiplier + rate * violation)``, kept off 0 and infinity."""

    def __init__(self, violation: Violation, ascent: Ascent) -> None:
        self._violation = violation
        self._ascent = ascent
        self.value = ascent.start

    def climb(self, observed: Observed) -> None:
        violation = self._violation(observed)
        if math.isnan(violation):
            raise UsageError(
                "a constraint cannot be kept that is not measured",
                remedy="Constrain the loss where a model has no accuracy.",
            )
        raised = self.value + self._ascent.rate * violation
        self.value = min(self._ascent.most, max(_LEAST, raised))

    def state(self) -> State:
        return {"multiplier": self.value}

    def restore(self, state: State) -> None:
        self.value = float(state["multiplier"])
