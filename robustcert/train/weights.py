"""lambda: how much the penalty counts, and how it follows what training shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

from robustcert.errors import UsageError
from robustcert.train.interface import Observed, State


class Fixed:
    """A weight that stays.

    Raises:
        UsageError: it is negative or not finite.
    """

    def __init__(self, value: float) -> None:
        self._value = _at_least_zero(value, "a weight")

    @property
    def value(self) -> float:
        """At any moment."""
        return self._value

    def after_step(self, observed: Observed) -> None:
        """Nothing changes."""

    def after_epoch(self, observed: Observed) -> None:
        """Nothing changes."""

    def state(self) -> State:
        """Nothing changes, so that nothing is kept."""
        return {}

    def restore(self, state: State) -> None:
        """Nothing changes."""


@dataclass(frozen=True, slots=True)
class DiscrepancyRule:
    """The weight rises while the model fits better than it must, and falls otherwise.

    Attributes:
        target: accuracy alpha in [0, 1].
        increment: added where the training accuracy is above the target, taken off
            where it is not.
        start: the weight after the warm-up.
        warm_up: epochs at weight 0.

    Raises:
        UsageError: a number is out of its range.
    """

    target: float
    increment: float
    start: float = 0.0
    warm_up: int = 5

    def __post_init__(self) -> None:
        """Refuse a rule that could never act."""
        if not 0.0 <= self.target <= 1.0:
            raise UsageError(f"the target accuracy {self.target} is not in [0, 1]")
        if not (math.isfinite(self.increment) and self.increment > 0.0):
            raise UsageError(
                f"with an increment of {self.increment} the weight never moves",
                remedy="Give an increment above 0, or a fixed weight.",
            )
        _at_least_zero(self.start, "the first weight")
        if self.warm_up < 0:
            raise UsageError(f"the warm-up has {self.warm_up} epochs")


class Discrepancy:
    """The discrepancy principle, once an epoch. The weight is never below 0.

    Reference:
        Bungert et al. CLIP: Cheap Lipschitz Training of Neural Networks. SSVM 2021,
            Algorithm 2.
    """

    def __init__(self, rule: DiscrepancyRule) -> None:
        self._level = _Level(rule)

    @property
    def value(self) -> float:
        """0 during the warm-up."""
        return self._level.weight

    def after_step(self, observed: Observed) -> None:
        """Nothing changes within an epoch."""

    def after_epoch(self, observed: Observed) -> None:
        """One increment up or down, after the warm-up.

        Raises:
            UsageError: there is no accuracy, as in a regression.
        """
        self._level.adjust(observed)
        self._level.count_epoch()

    def state(self) -> State:
        """Epochs seen and the weight, in decimals."""
        return self._level.state()

    def restore(self, state: State) -> None:
        """Go on from a ``state``."""
        self._level.restore(state)


class SteppedDiscrepancy:
    """The discrepancy principle, once a step: the accuracy is that of one batch."""

    def __init__(self, rule: DiscrepancyRule) -> None:
        self._level = _Level(rule)

    @property
    def value(self) -> float:
        """0 during the warm-up."""
        return self._level.weight

    def after_step(self, observed: Observed) -> None:
        """One increment up or down, after the warm-up.

        Raises:
            UsageError: there is no accuracy, as in a regression.
        """
        self._level.adjust(observed)

    def after_epoch(self, observed: Observed) -> None:  # noqa: ARG002 - the protocol's
        """Only the warm-up is counted in epochs."""
        self._level.count_epoch()

    def state(self) -> State:
        """Epochs seen and the weight, in decimals."""
        return self._level.state()

    def restore(self, state: State) -> None:
        """Go on from a ``state``."""
        self._level.restore(state)


class _Level:
    """A weight under a rule.

    Decimal numbers add up without rounding: .3 less three times .1 is 0, and a weight
    of 0 leaves the penalty out of the step, which 3e-17 would not.
    """

    def __init__(self, rule: DiscrepancyRule) -> None:
        self._rule = rule
        self._epochs = 0
        self._weight = Decimal(repr(rule.start))

    @property
    def weight(self) -> float:
        return float(self._weight) if self._acts else 0.0

    @property
    def _acts(self) -> bool:
        return self._epochs >= self._rule.warm_up

    def adjust(self, observed: Observed) -> None:
        if not self._acts:
            return
        if math.isnan(observed.accuracy):
            raise UsageError(
                "the discrepancy principle compares accuracies, and there is none",
                remedy="Give a fixed weight, or constrain the loss by dual ascent.",
            )
        step = Decimal(repr(self._rule.increment))
        above = observed.accuracy > self._rule.target
        self._weight = max(Decimal(0), self._weight + (step if above else -step))

    def count_epoch(self) -> None:
        self._epochs += 1

    def state(self) -> State:
        return {"epochs": self._epochs, "weight": str(self._weight)}

    def restore(self, state: State) -> None:
        self._epochs = int(state["epochs"])
        self._weight = Decimal(state["weight"])


def _at_least_zero(value: float, what: str) -> float:
    if not (math.isfinite(value) and value >= 0.0):
        raise UsageError(f"{what} is {value}, not a finite number of at least 0")
    return value
