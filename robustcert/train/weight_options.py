"""How much a penalty counts, as an option of trainers."""

from __future__ import annotations

from dataclasses import dataclass

from robustcert.errors import UsageError
from robustcert.train.dual_ascent import Ascent, PenaltyMultiplier, penalty_above
from robustcert.train.interface import Weight
from robustcert.train.weights import Discrepancy, DiscrepancyRule, Fixed


@dataclass(frozen=True, slots=True)
class WeightOptions:
    """A fixed weight, or one that follows an accuracy or a limit.

    Attributes:
        lambda_: the weight, at least 0; where it follows something, its start.
        target: training accuracy in [0, 1] that the discrepancy principle steers to.
        increment: of the weight an epoch, where there is a target.
        warm_up: epochs without the penalty, where there is a target.
        limit: of the penalty, kept by dual ascent.
        ascent: its rate, where there is a limit.

    Raises:
        UsageError: there are a target and a limit.
    """

    lambda_: float = 1e-3
    target: float | None = None
    increment: float = 1e-3
    warm_up: int = 0
    limit: float | None = None
    ascent: float = 1e-3

    def __post_init__(self) -> None:
        """Refuse two rules for one weight."""
        if self.target is not None and self.limit is not None:
            raise UsageError(
                "one weight cannot follow a target accuracy and a limit",
                remedy="Set target or limit, not both.",
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
        return Discrepancy(rule)
    if options.limit is not None:
        ascent = Ascent(options.ascent, options.lambda_)
        return PenaltyMultiplier(penalty_above(options.limit), ascent)
    return Fixed(options.lambda_)
