"""Bounds of hidden units, improved stage by stage.

First by multipliers of their own, then by search trees of their own: every unit that
is still open has one tree for its lower and one for its upper bound, kept from call to
call. Deep nets need it: their margins are loose because hidden bounds are, which no
split made for the margins mends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustcert.certify.branching.climb import Climb, climbed
from robustcert.certify.branching.confirm import interval_bounds, lower_bounds
from robustcert.certify.branching.program import (
    Bounds,
    Forms,
    Leaves,
    steepest_slopes,
    whole,
)
from robustcert.certify.branching.tree import Effort, Stand, Trees, planted

Over = Callable[[], bool]
"""Whether the time is up."""

EFFORT = Effort(Climb(steps=0), candidates=4)
LEAVES = 128
"""Leaves that are split at once, or one of each tree if that is more."""

ROUND = 64
"""What a round costs besides its leaves, in leaves."""

STALE = 0.95
"""Trees are planted anew where units in front are together no looser than this share
of what they were: splits chosen for loose bounds are poor ones for better bounds."""

_CHUNK = 2**24  # numbers in one tensor of multipliers at most


@dataclass(frozen=True, slots=True, eq=False)
class Grove:
    """Trees of the units ``(n,)`` of a stage: n for lower, then n for upper bounds.

    Attributes:
        looseness: of the units in front when the trees were planted.
    """

    units: Tensor
    trees: Trees
    looseness: float


@dataclass(slots=True, eq=False)
class Hidden:
    """Multipliers and trees of the open units, by stage.

    Attributes:
        units: positions in the stage of the units that have multipliers.
        slopes: ``(2 n, units before)`` for their lower bounds, then the upper ones.
        groves: trees, planted when the stage is first refined.
        work: what a stage is worth next time, in leaves.
    """

    units: dict[int, Tensor] = field(default_factory=dict)
    slopes: dict[int, Tensor] = field(default_factory=dict)
    groves: dict[int, Grove] = field(default_factory=dict)
    work: dict[int, int] = field(default_factory=dict)

    def without(self, stand: Stand, alive: Tensor) -> Hidden:
        """What belongs to the program without units that are off."""
        left, parts = Hidden(work=self.work), stand.program.parts(alive)
        by_stage = dict(enumerate(parts))
        for stage, units in self.units.items():
            kept = parts[stage][units]
            places = parts[stage].cumsum(0) - 1
            before = torch.cat(parts[:stage])
            left.units[stage] = places[units[kept]]
            left.slopes[stage] = self.slopes[stage][kept.repeat(2)][:, before]
            if stage in self.groves:
                grove = self.groves[stage]
                kept = parts[stage][grove.units]
                trees = grove.trees.without(kept.repeat(2), before, by_stage)
                left.groves[stage] = Grove(
                    places[grove.units[kept]], trees, grove.looseness
                )
        return left


def climbed_bounds(stand: Stand, hidden: Hidden, stage: int, plan: Climb) -> Stand:
    """A stage's open units bounded by multipliers of their own, kept in ``hidden``."""
    stand = _with_intervals(stand, stage)
    before = stand.before(stage)
    units = _of_stage(stand, stage).is_open.nonzero().flatten()
    if not len(units):
        return stand
    start = _starting_slopes(stand, hidden, stage, units)
    forms = stand.program.stages[stage].rows(units).both_ways()
    value, slopes = [], []
    step = max(1, _CHUNK // max(1, before.program.units))
    for rows in torch.split(torch.arange(len(forms)), step):
        asked = forms.rows(rows)
        found = climbed(
            before.sketch,
            before.guides,
            asked.to(torch.float32),
            whole(start[rows]),
            plan,
            0.0,
        ).leaves
        value.append(lower_bounds(before.program, before.bounds, asked, found))
        slopes.append(found.slopes)
    hidden.units[stage], hidden.slopes[stage] = units, torch.cat(slopes)
    low, negated = torch.cat(value).chunk(2)
    return _with(stand, stage, units, Bounds(low, -negated))


def refined(stand: Stand, hidden: Hidden, stage: int, work: int, over: Over) -> Stand:
    """Bounds of a stage after some more rounds on the trees of its units.

    In a round every tree splits its worst leaves. All stages get the same work, so
    that a narrow one, which all later stages depend on, gets many rounds.

    Args:
        stand: what is known.
        hidden: the stage's trees are kept there.
        stage: counted from 0.
        work: leaves to split, a round counting :data:`ROUND` more.
        over: asked between rounds.
    """
    if stage not in hidden.units:
        return stand
    grove = _grown(stand, hidden, stage)
    units, trees = grove.units, grove.trees
    known = _of_stage(stand, stage).of(units)
    before, is_open = stand.before(stage), known.is_open
    trees.pool.close(~is_open.repeat(2))
    while work > 0:
        slots = trees.pool.worst_of_each(LEAVES)
        if not len(slots) or over():
            break
        trees.advance(before, slots)
        work -= len(slots) + ROUND
    # a tree without leaves says that its form is above 0, if it was not closed for the
    # other side's sake
    least = trees.pool.least().clamp(max=0.0)
    low, negated = torch.where(is_open.repeat(2), least, -torch.inf).chunk(2)
    return _with(stand, stage, units, Bounds(low, -negated))


def _with_intervals(stand: Stand, stage: int) -> Stand:
    """Bounds that follow from those of earlier stages at once."""
    before = stand.before(stage)
    units = _of_stage(stand, stage).is_open.nonzero().flatten()
    forms = stand.program.stages[stage].rows(units).both_ways()
    ends = interval_bounds(before.program, before.bounds, forms)
    low, negated = ends.chunk(2)
    return _with(stand, stage, units, Bounds(low, -negated))


def _grown(stand: Stand, hidden: Hidden, stage: int) -> Grove:
    """The trees of a stage, kept from the last time unless they are stale."""
    looseness = stand.before(stage).bounds.looseness
    grove = hidden.groves.get(stage)
    if grove is None or looseness < STALE * grove.looseness:
        grove = _planted(stand, hidden, stage)
        hidden.groves[stage] = grove
    return grove


def _planted(stand: Stand, hidden: Hidden, stage: int) -> Grove:
    units = hidden.units[stage]
    known = _of_stage(stand, stage).of(units)
    forms: Forms = stand.program.stages[stage].rows(units).both_ways()
    value = torch.cat([known.low, -known.high])
    leaves: Leaves = whole(hidden.slopes[stage])
    looseness = stand.before(stage).bounds.looseness
    return Grove(units, planted(forms, value, leaves, 0.0, EFFORT), looseness)


def _starting_slopes(stand: Stand, hidden: Hidden, stage: int, units: Tensor) -> Tensor:
    """``(2 n, units before)``: those of the last time, where there are any."""
    guides = stand.before(stage).guides
    start = steepest_slopes(guides).expand(2 * len(units), -1).clone()
    if stage in hidden.units:
        known = hidden.units[stage]
        places = torch.full((len(stand.program.stages[stage]),), -1)
        places[known] = torch.arange(len(known))
        rows = places[units]
        both = torch.cat([rows, rows + len(known)])
        held = rows.repeat(2) >= 0
        start[held] = hidden.slopes[stage][both[held]]
    return start


def _of_stage(stand: Stand, stage: int) -> Bounds:
    return stand.bounds.of(stand.program.slices()[stage])


def _with(stand: Stand, stage: int, units: Tensor, found: Bounds) -> Stand:
    places = stand.program.slices()[stage].start + units
    low = torch.full_like(stand.bounds.low, -torch.inf)
    high = torch.full_like(stand.bounds.high, torch.inf)
    low[places], high[places] = found.low, found.high
    return stand.knowing(stand.bounds.narrowed(low, high))
