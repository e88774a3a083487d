"""Settle one ball: root bounds, then rounds of growing effort."""

from __future__ import annotations

from robustcert.certify.branching.build import Encoded
from robustcert.certify.branching.climb import Climb
from robustcert.certify.branching.hidden import Over, climbed_bounds, refined
from robustcert.certify.branching.margins import (
    GLANCE,
    bound_margins,
    branch,
    hidden_bounds,
)
from robustcert.certify.branching.question import Look, Question
from robustcert.certify.branching.tree import Stand

FIRST_LOOK = Climb(steps=12)
MARGINS = Climb(steps=30)
FIRST_HIDDEN = Climb(steps=4)
HIDDEN = Climb(steps=10)

FIRST_WORK = 600
"""What is spent at first on each stage and on the margins, in leaves; then doubled."""

GROWTH = 2

WORTH = 0.98
"""A stage gets more work next time where no more than this share stays loose."""

CROWDED = 0.8
"""A program is written anew where only this share of its units is not off."""


def settled(encoded: Encoded, target: float, look: Look, over: Over) -> Question:
    """Work on a ball until it is settled or the time is up.

    Args:
        encoded: the net in the ball; its outputs are the margins.
        target: the margin to exceed.
        look: see :data:`robustcert.certify.branching.question.Look`.
        over: asked between rounds.

    Returns:
        The question: proved where ``forms`` is empty and it is not broken.
    """
    stand = Stand.of(encoded.program, encoded.bounds)
    question = Question.of(stand, encoded.outputs, target, look, over)
    bound_margins(question, FIRST_LOOK)
    if not question.settled and not over():
        _bound_hidden(question)
        bound_margins(question, MARGINS)
    round_of_hidden = 2 * int(hidden_bounds(question).is_open.sum())
    work = max(FIRST_WORK, round_of_hidden)
    if round_of_hidden > GLANCE and not question.settled and not over():
        # margins may need less than one round on the trees of all hidden units
        branch(question, work)
    while not question.settled and not over() and _has_splits(question):
        _refine(question)
        bound_margins(question, MARGINS)
        if not question.settled:
            branch(question, work)
        work *= GROWTH
    return question


def _bound_hidden(question: Question) -> None:
    """Better bounds of all stages, then a program without the units that are off."""
    stand, hidden = question.stand, question.hidden
    for stage in range(1, len(stand.program.stages)):
        if question.over():
            return
        stand = climbed_bounds(stand, hidden, stage, FIRST_HIDDEN)
    question.stand = stand
    question.prune()


def _refine(question: Question) -> None:
    """Work on each stage: twice as much next time where bounds up to it got better."""
    hidden, before = question.hidden, question.stand
    for stage in range(1, len(before.program.stages)):
        if question.over():
            return
        if stage > 1 or stage not in hidden.units:
            question.stand = climbed_bounds(question.stand, hidden, stage, HIDDEN)
        work = hidden.work.setdefault(stage, FIRST_WORK)
        question.stand = refined(question.stand, hidden, stage, work, question.over)
        if _looseness(question.stand, stage) <= WORTH * _looseness(before, stage):
            hidden.work[stage] = work * GROWTH
    if (question.stand.bounds.high > 0.0).double().mean() < CROWDED:
        question.prune()


def _looseness(stand: Stand, stage: int) -> float:
    """Of all units that are not bounded exactly, up to a stage."""
    slices = stand.program.slices()
    return stand.bounds.of(slice(slices[1].start, slices[stage].stop)).looseness


def _has_splits(question: Question) -> bool:
    return bool(question.stand.bounds.is_open.any())
