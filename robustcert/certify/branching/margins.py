"""Bounds of the margins: by multipliers of their own, then by search trees."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustcert.certify.branching.climb import Climb, climbed
from robustcert.certify.branching.confirm import lower_bounds
from robustcert.certify.branching.hidden import ROUND
from robustcert.certify.branching.program import Bounds, whole
from robustcert.certify.branching.question import Grown, Question
from robustcert.certify.branching.sweep import relaxation, swept
from robustcert.certify.branching.tree import Effort, planted

EFFORT = Effort(Climb(steps=20, price_rate=1.0), candidates=4)
LEAVES = 128
"""Leaves that are split at once."""

SHARE = 2
"""A leaf of margins costs as many leaves of hidden units."""

GLANCE = 300
"""Work that shows whether more of it may close what is missing."""

NEAR = 3.0
"""It may where no more than this many times is missing of what was gained, all forms
together; otherwise the work goes to hidden units."""

STALE = 0.85
"""Trees are planted anew where the net is no looser than this share of what it was."""

_LIMITLESS = 2**62


def bound_margins(question: Question, plan: Climb) -> None:
    """Multipliers for the margins; those above the target are done."""
    stand, target = question.stand, question.target
    found = climbed(
        stand.sketch,
        stand.guides,
        question.forms.to(torch.float32),
        whole(question.slopes),
        plan,
        target,
    )
    value = lower_bounds(stand.program, stand.bounds, question.forms, found.leaves)
    question.value, question.roots = torch.fmax(question.value, value), value
    question.slopes = found.leaves.slopes
    question.keep(~(question.value > target))
    if len(question.forms):
        question.broken = question.look(_lowest_points(question))


def branch(question: Question, work: int) -> None:
    """Split for the margins; margins whose whole tree is closed are done.

    After a glance only where the trees may close what is missing.

    Args:
        question: with bounds of its margins.
        work: in leaves of hidden units. Without limit where no hidden unit is open.
    """
    grown = _grown(question)
    if not bool(hidden_bounds(question).is_open.any()):
        work = _LIMITLESS
    _grow(question, grown, min(work, GLANCE))
    if not question.settled and _is_near(question, grown, work):
        _grow(question, grown, work - GLANCE)


def hidden_bounds(question: Question) -> Bounds:
    """Of the units behind the first stage, whose own bounds are exact."""
    stand = question.stand
    first = sum(len(stage) for stage in stand.program.stages[:1])
    return stand.bounds.of(slice(first, None))


def _lowest_points(question: Question) -> Tensor:
    stand, leaves = question.stand, whole(question.slopes)
    lines = relaxation(stand.guides, leaves.splits)
    sketches = question.forms.to(torch.float32)
    found = swept(stand.sketch, lines, sketches, leaves)
    return stand.sketch.region.minimisers(found.direct)


def _grow(question: Question, grown: Grown, work: int) -> None:
    while work > 0:
        slots = grown.trees.pool.worst_and_nearest(LEAVES)
        if not len(slots) or question.over():
            break
        points = grown.trees.advance(question.stand, slots)
        question.rounds += 1
        spent = SHARE * len(slots) + ROUND
        work, grown.work = work - spent, grown.work + spent
        if len(points) and question.look(points):
            question.broken = True
            return
        if grown.trees.hopeless:
            question.hopeless = True
            return
    least = grown.trees.pool.least()
    question.value = torch.fmax(question.value, least.clamp(max=question.target))
    question.keep(~(least > question.target))


def _is_near(question: Question, grown: Grown, work: int) -> bool:
    """Whether so much more work on the trees may close what is missing.

    What they add grows far slower than the work.
    """
    gained = float((question.value - grown.roots).sum())
    missing = float((question.target - grown.roots).sum())
    more = max(1.0, work / max(1, grown.work))
    return missing <= NEAR * gained * math.sqrt(math.sqrt(more))


def _grown(question: Question) -> Grown:
    """The trees so far; new ones where bounds got much better: splits were poor then.

    Kept trees are told of the better bounds.
    """
    looseness, old = question.stand.bounds.looseness, question.grown
    if old is not None and looseness >= STALE * old.looseness:
        old.trees.refresh(question.stand)
        return old
    trees = planted(
        question.forms,
        question.value,
        whole(question.slopes),
        question.target,
        EFFORT,
    )
    question.grown = Grown(trees, question.roots, looseness)
    return question.grown
