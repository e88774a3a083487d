"""How much a penalty counts, as an option of trainers."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from robustcert.errors import UsageError
from robustcert.train.dual_ascent import (
    Ascent,
    FitMultiplier,
    PenaltyMultiplier,
    accuracy_below,
    loss_above,
    penalty_above,
)
from robustcert.train.interface import Weight
from robustcert.train.weights import (
    Discrepancy,
    DiscrepancyRule,
    Fixed,
    SteppedDiscrepancy,
)


class Turn(enum.Enum):
    """When the discrepancy principle acts."""

    EPOCH = "epoch"
    STEP = "step"


class Limited(enum.Enum):
    """What dual ascent keeps within the limit, while the rest is minimised."""

    PENALTY = "penalty"
    LOSS = "loss"
    ACCURACY = "accuracy"


@dataclass(frozen=True, slots=True)
class WeightOptions:
    """A fixed weight, or one that follows an accuracy or a limit.

    Attributes:
        lambda_: the weight, at least 0; where it follows something, its start.
        target: training accuracy in [0, 1] that the discrepancy principle steers to.
        turn: after each epoch as in the reference code, or after each step, by the
            batch's accuracy, as in Algorithm 2.
        increment: of the weight at a turn, where there is a target.
        warm_up: epochs without the penalty, where there is a target.
        limit: kept by dual ascent: the largest penalty or loss, or the smallest
            training accuracy.
        limited: which of them.
        ascent: rate of the multiplier, where there is a limit: of lambda for the
            penalty, else of 1 / lambda.

    Raises:
        UsageError: there are a target and a limit, or no weight for a multiplier to
            start at.
    """

    lambda_: float = 1e-3
    target: float | None = None
    turn: Turn = Turn.EPOCH
    increment: float = 1e-3
    warm_up: int = 0
    limit: float | None = None
    limited: Limited = Limited.PENALTY
    ascent: float = 1e-3

    def __post_init__(self) -> None:
        """Refuse two rules for one weight."""
        if self.target is not None and self.limit is not None:
            raise UsageError(
                "one weight cannot follow a target accuracy and a limit",
                remedy="Set target or limit, not both.",
            )
        if self.limit is not None and not self.lambda_ > 0.0:
            raise UsageError(
                f"a multiplier cannot start at a weight of {self.lambda_}",
                remedy="Set lambda above 0.",
            )


def weight_of(options: WeightOptions) -> Weight:
    """The weight that the options describe.

    Raises:
        UsageError: a number is out of its range.
    """
    if options.target is not None:
        rule = DiscrepancyRule(
            options.target, options.increment, options.lambda_, options.warm_up
        )
        each_step = options.turn is Turn.STEP
        return SteppedDiscrepancy(rule) if each_step else Discrepancy(rule)
    if options.limit is not None:
        return _multiplier(options, options.limit)
    return Fixed(options.lambda_)


def _multiplier(options: WeightOptions, limit: float) -> Weight:
    if options.limited is Limited.PENALTY:
        ascent = Ascent(options.ascent, options.lambda_)
        return PenaltyMultiplier(penalty_above(limit), ascent)
    broken = loss_above if options.limited is Limited.LOSS else accuracy_below
    return FitMultiplier(broken(limit), Ascent(options.ascent, 1.0 / options.lambda_))
