"""Better multipliers: gradient steps on slopes and prices (Adam), in any dtype."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustcert.certify.branching.program import Bounds, Forms, Leaves, Program
from robustcert.certify.branching.sweep import (
    Relaxation,
    minimisers,
    relaxation,
    swept,
)


@dataclass(frozen=True, slots=True)
class Climb:
    """How multipliers are improved.

    Attributes:
        steps: gradient steps; 0 only evaluates.
        slope_rate: of the first step on slopes.
        price_rate: of the first step on prices; 0 leaves them alone.
        decay: of both rates, a step.
    """

    steps: int
    slope_rate: float = 0.1
    price_rate: float = 0.0
    decay: float = 0.97


@dataclass(frozen=True, slots=True, eq=False)
class Climbed:
    """The best that was found for R forms.

    Attributes:
        value: ``(R,)`` bounds, up to rounding.
        leaves: multipliers that give them.
        points: ``(R, D)`` where the relaxed net attains the bound first met.
    """

    value: Tensor
    leaves: Leaves
    points: Tensor


def climbed(
    program: Program,
    bounds: Bounds,
    forms: Forms,
    leaves: Leaves,
    plan: Climb,
    target: float,
) -> Climbed:
    """Raise each form's bound by its own multipliers; rows above ``target`` stop.

    Args:
        program: in the dtype to search in.
        bounds: of its units, in that dtype.
        forms: R of them.
        leaves: where to start: R rows, slopes perhaps one for all.
        plan: steps and rates.
        target: a bound above it is good enough.
    """
    state = _State.at(program, relaxation(bounds, leaves.splits), forms, leaves)
    for step in range(plan.steps + 1):
        found = swept(program, state.lines, state.forms, state.leaves)
        state.note(found.value)
        going = (found.value <= target).nonzero().flatten()
        if step == plan.steps or not len(going):
            break
        points, arguments = minimisers(program, state.lines, found)
        if step == 0:
            state.points[state.rows] = points
        gains = torch.where(state.lines.is_open, found.above.clamp(min=0.0), 0.0)
        state.move(gains * arguments, arguments, plan, step)
        if len(going) < 0.8 * len(state.rows):
            state.keep(going)
    return Climbed(state.value, state.best, state.points)


@dataclass(slots=True, eq=False)
class _Adam:
    """Moments of the gradients of one tensor.

    Reference:
        Kingma, Ba. Adam: A Method for Stochastic Optimization. ICLR 2015.
    """

    mean: Tensor
    square: Tensor

    def step(self, values: Tensor, gradient: Tensor, rate: float, count: int) -> None:
        self.mean.lerp_(gradient, 0.1)
        self.square.mul_(0.99).addcmul_(gradient, gradient, value=0.01)
        spread = (self.square / (1.0 - 0.99**count)).sqrt_().add_(1e-8)
        values.addcdiv_(self.mean, spread, value=rate / (1.0 - 0.9**count))

    def keep(self, rows: Tensor) -> None:
        self.mean, self.square = self.mean[rows], self.square[rows]


def _resting(values: Tensor) -> _Adam:
    return _Adam(torch.zeros_like(values), torch.zeros_like(values))


@dataclass(slots=True, eq=False)
class _State:
    """The rows still climbing (``rows`` among all R), and the best of all R."""

    lines: Relaxation
    forms: Forms
    leaves: Leaves
    rows: Tensor
    value: Tensor
    best: Leaves
    points: Tensor
    slopes: _Adam = field(init=False)
    prices: _Adam = field(init=False)

    def __post_init__(self) -> None:
        self.slopes = _resting(self.leaves.slopes)
        self.prices = _resting(self.leaves.prices)

    @staticmethod
    def at(program: Program, lines: Relaxation, forms: Forms, leaves: Leaves) -> _State:
        count = len(forms)
        own = Leaves(
            leaves.slopes.expand(count, -1).clone(),
            leaves.prices.expand(count, -1).clone(),
            leaves.splits.expand(count, -1),
        )
        best = Leaves(own.slopes.clone(), own.prices.clone(), own.splits)
        value = torch.full_like(forms.shift, -torch.inf)
        points = forms.shift.new_zeros(count, program.region.sizes.numel())
        points = points + program.region.minimisers(points[:1])
        return _State(lines, forms, own, torch.arange(count), value, best, points)

    def note(self, value: Tensor) -> None:
        better = value > self.value[self.rows]
        rows = self.rows[better]
        self.value[rows] = value[better]
        self.best.slopes[rows] = self.leaves.slopes[better]
        self.best.prices[rows] = self.leaves.prices[better]

    def move(self, gains: Tensor, arguments: Tensor, plan: Climb, step: int) -> None:
        leaves, shrink = self.leaves, plan.decay**step
        self.slopes.step(leaves.slopes, gains, plan.slope_rate * shrink, step + 1)
        leaves.slopes.clamp_(0.0, 1.0)
        if plan.price_rate > 0.0:
            gradient = leaves.splits * arguments
            rate = plan.price_rate * shrink
            self.prices.step(leaves.prices, gradient, rate, step + 1)
            leaves.prices.clamp_(min=0.0).mul_(leaves.splits != 0)

    def keep(self, going: Tensor) -> None:
        self.rows, self.forms = self.rows[going], self.forms.rows(going)
        self.lines, self.leaves = self.lines.rows(going), self.leaves.rows(going)
        self.slopes.keep(going)
        self.prices.keep(going)
