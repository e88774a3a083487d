"""Better multipliers: ascent with steps just long enough for the target, in any dtype.

The direction is that of Adam, for its scale; components that only press against an end
of their range are left out. The length is Polyak's: where the bound is concave in the
multipliers, the step that would reach the aim along the gradient never moves away from
the multipliers that reach it. Leaves of a search tree start near their best
multipliers, which steps of a fixed length would leave at once.

References:
    Polyak. Minimization of Unsmooth Functionals. USSR Computational Mathematics and
        Mathematical Physics 1969. (The length.)
    Kingma, Ba. Adam: A Method for Stochastic Optimization. ICLR 2015. (The scale.)
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustcert.certify.branching.program import Bounds, Forms, Leaves, Program
from robustcert.certify.branching.sweep import (
    Relaxation,
    Swept,
    minimisers,
    relaxation,
    swept,
)

_MOMENTUM = 0.5
_MEMORY = 0.9
"""Of the squared gradients that scale the direction."""

_BEYOND = 0.5
"""The aim lies beyond the target by this share of what was missing at first."""


@dataclass(frozen=True, slots=True)
class Climb:
    """How multipliers are improved.

    Attributes:
        steps: gradient steps; 0 only evaluates.
        slope_rate: about the longest step of a slope.
        price_rate: of a price; 0 leaves prices alone.
        decay: of both, a step.
    """

    steps: int
    slope_rate: float = 0.3
    price_rate: float = 0.0
    decay: float = 0.97


@dataclass(frozen=True, slots=True, eq=False)
class Climbed:
    """The best that was found for R forms.

    Attributes:
        value: ``(R,)`` bounds, up to rounding.
        leaves: multipliers that give them.
    """

    value: Tensor
    leaves: Leaves


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
    state = _State.at(relaxation(bounds, leaves.splits), forms, leaves)
    for step in range(plan.steps + 1):
        found = swept(program, state.lines, state.forms, state.leaves)
        if step == 0:
            state.aim_beyond(target, found.value)
        state.note(found.value)
        going = (found.value <= target).nonzero().flatten()
        if step == plan.steps or not len(going):
            break
        _, arguments = minimisers(program, state.lines, found)
        state.move(found, arguments, plan, step)
        if len(going) < 0.8 * len(state.rows):
            state.keep(going)
    return Climbed(state.value, state.best)


@dataclass(slots=True, eq=False)
class _Pull:
    """Directions of R points in a range, from their gradients so far."""

    mean: Tensor
    square: Tensor

    def along(self, gradient: Tensor, inward: Tensor, count: int) -> Tensor:
        """The next direction, entries of about one; ``inward`` is what is free to."""
        self.mean.lerp_(inward, 1.0 - _MOMENTUM)
        self.square.mul_(_MEMORY).addcmul_(gradient, gradient, value=1.0 - _MEMORY)
        spread = (self.square / (1.0 - _MEMORY**count)).sqrt_().add_(1e-8)
        return (self.mean / spread).div_(1.0 - _MOMENTUM**count)

    def keep(self, rows: Tensor) -> None:
        self.mean, self.square = self.mean[rows], self.square[rows]


@dataclass(slots=True, eq=False)
class _State:
    """The rows still climbing (``rows`` among all R), and the best of all R.

    A unit has one multiplier in use: its slope where it is open, its price where it is
    split. ``points`` holds it, and 0 elsewhere; ``ends`` is the end of its range.
    """

    lines: Relaxation
    forms: Forms
    leaves: Leaves
    rows: Tensor
    value: Tensor
    best: Leaves
    pull: _Pull
    aim: Tensor = field(init=False)

    @staticmethod
    def at(lines: Relaxation, forms: Forms, leaves: Leaves) -> _State:
        count = len(forms)
        own = Leaves(
            leaves.slopes.expand(count, -1).clone(),
            leaves.prices.expand(count, -1).clone(),
            leaves.splits.expand(count, -1),
        )
        best = Leaves(own.slopes.clone(), own.prices.clone(), own.splits)
        value = torch.full_like(forms.shift, -torch.inf)
        rest = torch.zeros_like(own.slopes)
        pull = _Pull(rest, rest.clone())
        return _State(lines, forms, own, torch.arange(count), value, best, pull)

    def aim_beyond(self, target: float, value: Tensor) -> None:
        self.aim = target + _BEYOND * (target - value).clamp(min=0.0)

    def note(self, value: Tensor) -> None:
        better = value > self.value[self.rows]
        rows = self.rows[better]
        self.value[rows] = value[better]
        self.best.slopes[rows] = self.leaves.slopes[better]
        self.best.prices[rows] = self.leaves.prices[better]

    def move(self, found: Swept, arguments: Tensor, plan: Climb, step: int) -> None:
        leaves, is_open = self.leaves, self.lines.is_open
        gains = torch.where(is_open, found.above.clamp(min=0.0), leaves.splits)
        gradient = gains * arguments
        at = torch.where(is_open, leaves.slopes, leaves.prices)
        outward = ((at <= 0.0) & (gradient < 0.0)) | (
            is_open & (at >= 1.0) & (gradient > 0.0)
        )
        inward = gradient.masked_fill(outward, 0.0)
        rates = torch.where(is_open, plan.slope_rate, plan.price_rate)
        along = self.pull.along(gradient, inward, step + 1) * rates
        rise = (inward * along).sum(dim=-1).clamp(min=1e-12)
        length = (self.aim - found.value) / rise
        length = length.clamp(min=0.0, max=plan.decay**step)
        moves = along * length[:, None]
        leaves.slopes.add_(moves.masked_fill(~is_open, 0.0)).clamp_(0.0, 1.0)
        leaves.prices.add_(moves.masked_fill(leaves.splits == 0, 0.0)).clamp_(min=0.0)

    def keep(self, going: Tensor) -> None:
        self.rows, self.forms = self.rows[going], self.forms.rows(going)
        self.lines, self.leaves = self.lines.rows(going), self.leaves.rows(going)
        self.aim = self.aim[going]
        self.pull.keep(going)
