"""A search over the leaves of P trees; every bound in it is proved when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustcert.certify.branching.climb import Climb, climbed
from robustcert.certify.branching.confirm import lower_bounds
from robustcert.certify.branching.finished import finished
from robustcert.certify.branching.lookahead import choice, with_split
from robustcert.certify.branching.pool import Batch, Pool
from robustcert.certify.branching.program import Bounds, Forms, Leaves, Program

_POLISH = Climb(steps=60, price_rate=1.0)
"""For leaves with nothing left to split, where no linear program can be solved."""

_PROGRAMS = 8
"""Linear programs solved in a round; one may take a tenth of a second."""

_CHUNK = 1024  # leaves bounded at once


@dataclass(frozen=True, slots=True)
class Effort:
    """What a search spends on a leaf.

    Attributes:
        climb: for both children of a split.
        candidates: units tried in each leaf.
    """

    climb: Climb
    candidates: int


@dataclass(frozen=True, slots=True, eq=False)
class Stand:
    """What is known when a round starts: the same net twice, to prove and to search.

    Attributes:
        program: float64.
        bounds: proved for its units.
        sketch: the program in the dtype to search in.
        guides: the bounds in that dtype.
    """

    program: Program
    bounds: Bounds
    sketch: Program
    guides: Bounds

    @staticmethod
    def of(program: Program, bounds: Bounds) -> Stand:
        """With a sketch in float32."""
        return Stand(
            program,
            bounds,
            program.to(torch.float32),
            Bounds(bounds.low.float(), bounds.high.float()),
        )

    def knowing(self, bounds: Bounds) -> Stand:
        """The same net with better bounds."""
        guides = Bounds(bounds.low.float(), bounds.high.float())
        return Stand(self.program, bounds, self.sketch, guides)

    def before(self, stage: int) -> Stand:
        """The stages in front of ``stage``."""
        units = slice(0, sum(len(form) for form in self.program.stages[:stage]))
        return Stand(
            self.program.before(stage),
            self.bounds.of(units),
            self.sketch.before(stage),
            self.guides.of(units),
        )


@dataclass(slots=True, eq=False)
class Trees:
    """Search trees, one for each of P forms.

    A tree's leaves cover the region: a leaf is only ever replaced by its two children,
    or by itself with a better bound, and left out once its bound is above the target.

    Attributes:
        forms: float64.
        sketches: the same in the dtype to search in.
        target: leaves above it are closed.
        pool: of the open leaves.
        rounds: done so far.
        hopeless: whether a leaf's own minimum is not above the target, as far as
            rounding tells: no more splits close it.
    """

    forms: Forms
    sketches: Forms
    target: float
    effort: Effort
    pool: Pool
    rounds: int = 0
    hopeless: bool = False

    def advance(self, stand: Stand, slots: Tensor) -> Tensor:
        """Split the leaves in ``slots``; points ``(B, D)`` worth looking at."""
        self.rounds += 1
        parents = self.pool.batch.rows(slots)
        sketches = self.sketches.rows(parents.owner)
        chosen = choice(
            stand.sketch,
            stand.guides,
            sketches,
            parents.leaves,
            self.effort.candidates,
            self.target,
        )
        split, whole = parents.rows(chosen.found), parents.rows(~chosen.found)
        pairs = Batch(
            torch.cat([split.owner, split.owner]),
            torch.cat([split.value, split.value]),
            with_split(split.leaves, chosen.unit[chosen.found]),
        )
        families = [self._bounded(stand, pairs, self.effort.climb)]
        points = chosen.points
        if len(whole):
            left, lowest = self._finished(stand, whole)
            families.append(left)
            points = torch.cat([points[chosen.found], lowest.to(points)])
        self.pool.replace(slots, _joined(families))
        return points

    def refresh(self, stand: Stand) -> None:
        """Bound the open leaves with what is known by now; close those above."""
        for slots in torch.split(self.pool.open_slots, _CHUNK):
            some = self.pool.batch.rows(slots)
            forms = self.forms.rows(some.owner)
            value = lower_bounds(stand.program, stand.bounds, forms, some.leaves)
            value = torch.fmax(value, some.value)
            value = torch.where(value > self.target, torch.inf, value)
            self.pool.batch.value[slots] = value

    def without(
        self, kept: Tensor, alive: Tensor, by_stage: Mapping[int, Tensor]
    ) -> Trees:
        """The trees of some forms, in the program of the units that are alive.

        Args:
            kept: ``(P,)`` mask of the forms.
            alive: mask of the units in front.
            by_stage: the same, by stage.
        """
        batch = self.pool.batch
        some = batch.rows(kept[batch.owner] & (batch.value < torch.inf))
        owner = (kept.cumsum(0) - 1)[some.owner]
        left = Batch(owner, some.value, some.leaves.columns(alive))
        return replace(
            self,
            forms=self.forms.rows(kept).reading(by_stage),
            sketches=self.sketches.rows(kept).reading(by_stage),
            pool=Pool(left, int(kept.sum())),
        )

    def _finished(self, stand: Stand, whole: Batch) -> tuple[Batch, Tensor]:
        """What is left of leaves without open units, and inputs that are lowest."""
        places = torch.arange(len(whole))
        now, later = whole.rows(places[:_PROGRAMS]), whole.rows(places[_PROGRAMS:])
        forms, leaves = self.forms.rows(now.owner), now.leaves
        found = finished(stand.program, stand.bounds, forms, leaves)
        if found is None:
            nowhere = torch.zeros(0, stand.program.region.sizes.numel())
            return self._bounded(stand, whole, _POLISH), nowhere
        value = torch.fmax(found.value, now.value)
        prices = found.prices.to(leaves.prices.dtype)
        priced = Leaves(leaves.slopes, prices, leaves.splits)
        stays, is_solved = ~(value > self.target), found.points.isfinite().all(dim=1)
        self.hopeless |= bool((stays & is_solved).any())
        left = Batch(now.owner, value, priced).rows(stays)
        return _joined([left, later]), found.points[is_solved]

    def _bounded(self, stand: Stand, batch: Batch, plan: Climb) -> Batch:
        """The leaves of ``batch`` that stay open, with their proved bounds."""
        leaves = batch.leaves
        if plan.steps:
            sketches = self.sketches.rows(batch.owner)
            leaves = climbed(
                stand.sketch, stand.guides, sketches, leaves, plan, self.target
            ).leaves
        forms = self.forms.rows(batch.owner)
        value = lower_bounds(stand.program, stand.bounds, forms, leaves)
        value = torch.fmax(value, batch.value)
        still = Batch(batch.owner, value, leaves)
        return still.rows(~(value > self.target))


def planted(
    forms: Forms, value: Tensor, leaves: Leaves, target: float, effort: Effort
) -> Trees:
    """Trees of one root each.

    Args:
        forms: P of them, float64.
        value: ``(P,)`` float64, proved on the whole region.
        leaves: multipliers ``(P, units)`` to start from, in the dtype to search in.
        target: a bound above it is what is looked for.
        effort: a leaf.
    """
    pool = Pool.of_roots(value, leaves)
    pool.close(value > target)
    dtype = leaves.slopes.dtype
    return Trees(forms, forms.to(dtype), target, effort, pool)


def _joined(families: list[Batch]) -> Batch:
    if len(families) == 1:
        return families[0]
    leaves = [batch.leaves for batch in families]
    return Batch(
        torch.cat([batch.owner for batch in families]),
        torch.cat([batch.value for batch in families]),
        Leaves(
            torch.cat([part.slopes for part in leaves]),
            torch.cat([part.prices for part in leaves]),
            torch.cat([part.splits for part in leaves]),
        ),
    )
