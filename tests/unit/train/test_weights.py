"""How lambda follows what training shows."""

from __future__ import annotations

import math

import pytest

from robustcert.errors import UsageError
from robustcert.train.dual_ascent import (
    Ascent,
    FitMultiplier,
    PenaltyMultiplier,
    accuracy_below,
    loss_above,
    penalty_above,
)
from robustcert.train.interface import Observed
from robustcert.train.weights import (
    Discrepancy,
    DiscrepancyRule,
    Fixed,
    SteppedDiscrepancy,
)

RULE = DiscrepancyRule(target=0.9, increment=0.1, start=0.1, warm_up=0)
SEEN = [0.95, 0.95, 0.85, 0.85, 0.85, 0.85]
TRACE = [0.2, 0.3, 0.2, 0.1, 0.0, 0.0]


def seen(accuracy=math.nan, loss=math.nan, penalty=math.nan) -> Observed:
    return Observed(accuracy, loss, penalty)


def test_the_discrepancy_principle_draws_its_trace_exactly():
    weight, trace = Discrepancy(RULE), []
    for accuracy in SEEN:
        weight.after_step(seen(0.0))
        weight.after_epoch(seen(accuracy))
        trace.append(weight.value)
    assert trace == TRACE


def test_the_stepped_principle_draws_the_same_trace_from_batches():
    weight, trace = SteppedDiscrepancy(RULE), []
    for accuracy in SEEN:
        weight.after_step(seen(accuracy))
        trace.append(weight.value)
        weight.after_epoch(seen(0.0))
    assert trace == TRACE


def test_a_weight_that_falls_by_tenths_is_0_and_not_nearly_0():
    weight = Discrepancy(DiscrepancyRule(0.9, 0.1, start=0.3, warm_up=0))
    for _ in range(3):
        weight.after_epoch(seen(0.5))
    assert weight.value == 0.0


@pytest.mark.parametrize("kind", [Discrepancy, SteppedDiscrepancy])
def test_a_warm_up_has_no_penalty_and_changes_no_weight(kind):
    weight = kind(DiscrepancyRule(0.9, 0.1, start=0.1, warm_up=2))
    values = []
    for _ in range(3):
        values.append(weight.value)
        weight.after_step(seen(0.95))
        weight.after_epoch(seen(0.95))
    assert values == [0.0, 0.0, 0.1]
    assert weight.value == 0.2


def test_an_accuracy_at_the_target_is_not_above_it():
    weight = Discrepancy(RULE)
    weight.after_epoch(seen(0.9))
    assert weight.value == 0.0


def test_a_regression_has_no_discrepancy_principle():
    with pytest.raises(UsageError, match="accuracies") as refused:
        Discrepancy(RULE).after_epoch(seen(loss=0.1))
    assert "dual ascent" in refused.value.remedy


@pytest.mark.parametrize(
    "numbers",
    [
        (1.1, 0.1, 0.0, 5),
        (0.9, 0.0, 0.0, 5),
        (0.9, math.nan, 0.0, 5),
        (0.9, 0.1, -0.1, 5),
        (0.9, 0.1, 0.0, -1),
    ],
)
def test_a_rule_that_could_not_act_is_refused(numbers):
    with pytest.raises(UsageError):
        DiscrepancyRule(*numbers)


@pytest.mark.parametrize("value", [-1e-9, math.nan, math.inf])
def test_a_fixed_weight_is_a_finite_number_of_at_least_0(value):
    with pytest.raises(UsageError):
        Fixed(value)


@pytest.mark.parametrize(
    "made",
    [
        lambda: Fixed(0.3),
        lambda: Discrepancy(DiscrepancyRule(0.9, 0.1, 0.1, 1)),
        lambda: SteppedDiscrepancy(DiscrepancyRule(0.9, 0.1, 0.1, 1)),
        lambda: PenaltyMultiplier(penalty_above(1.0), Ascent(0.1, 1.0)),
        lambda: FitMultiplier(loss_above(0.1), Ascent(0.1, 1.0)),
    ],
)
def test_a_restored_weight_goes_on_with_the_same_numbers(made):
    first, second = made(), made()
    shown = [seen(0.95, 0.3, 2.0), seen(0.85, 0.05, 0.5), seen(0.95, 0.2, 3.0)]
    for observed in shown[:2]:
        first.after_step(observed)
        first.after_epoch(observed)
    second.restore(first.state())
    for weight in (first, second):
        weight.after_step(shown[2])
        weight.after_epoch(shown[2])
    assert first.value == second.value


def test_a_multiplier_of_the_penalty_climbs_by_rate_times_violation():
    weight = PenaltyMultiplier(penalty_above(2.0), Ascent(rate=0.5, start=1.0))
    weight.after_step(seen(penalty=3.0))
    assert weight.value == 1.5
    weight.after_step(seen(penalty=1.0))
    assert weight.value == 1.0


def test_a_multiplier_never_leaves_the_constraint_unmeasured():
    weight = PenaltyMultiplier(penalty_above(2.0), Ascent(rate=10.0, start=1.0))
    weight.after_step(seen(penalty=0.0))
    assert 0.0 < weight.value < 1e-6  # at 0 no step would look at the penalty again
    weight.after_step(seen(penalty=3.0))
    assert weight.value == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("violation", "broken", "kept"),
    [
        (loss_above(0.2), seen(loss=0.5), seen(loss=0.1)),
        (accuracy_below(0.9), seen(accuracy=0.6), seen(accuracy=1.0)),
    ],
)
def test_a_multiplier_of_the_fit_lowers_the_weight_while_the_fit_is_too_bad(
    violation, broken, kept
):
    weight = FitMultiplier(violation, Ascent(rate=1.0, start=1.0))
    weight.after_step(broken)
    assert weight.value == pytest.approx(1.0 / 1.3)
    for _ in range(2):
        weight.after_step(kept)
    assert weight.value > 1.0 / 1.3


def test_a_constraint_that_was_not_measured_is_refused():
    with pytest.raises(UsageError, match="not measured"):
        PenaltyMultiplier(penalty_above(1.0), Ascent(0.1, 1.0)).after_step(seen())


@pytest.mark.parametrize(("rate", "start"), [(0.0, 1.0), (math.inf, 1.0), (0.1, 0.0)])
def test_a_multiplier_that_could_not_climb_is_refused(rate, start):
    with pytest.raises(UsageError):
        Ascent(rate, start)


def test_dual_ascent_on_a_slope_finds_the_known_multiplier():
    # Minimise (a - 2)^2 subject to |a| <= 1: a = 1, lambda = 2. At each step a is the
    # minimiser of (a - 2)^2 + lambda |a|, which is 2 - lambda / 2.
    weight = PenaltyMultiplier(penalty_above(1.0), Ascent(rate=0.5, start=0.1))
    for _ in range(200):
        slope = max(0.0, 2.0 - weight.value / 2.0)
        weight.after_step(seen(loss=(slope - 2.0) ** 2, penalty=slope))
    assert weight.value == pytest.approx(2.0, abs=1e-6)


def test_dual_ascent_on_the_loss_finds_the_least_slope_that_fits_well_enough():
    # Minimise |a| subject to (a - 2)^2 <= 1: a = 1, mu = 1 / 2, lambda = 2.
    weight = FitMultiplier(loss_above(1.0), Ascent(rate=0.1, start=2.0))
    for _ in range(500):
        slope = max(0.0, 2.0 - weight.value / 2.0)
        weight.after_step(seen(loss=(slope - 2.0) ** 2, penalty=slope))
    assert weight.value == pytest.approx(2.0, abs=1e-6)
