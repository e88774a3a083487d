"""Settle one ball: root bounds, then rounds of growing effort."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustcert.certify.branching.build import Encoded
from robustcert.certify.branching.climb import Climb, climbed
from robustcert.certify.branching.confirm import lower_bounds
from robustcert.certify.branching.hidden import (
    ROUND,
    Hidden,
    Over,
    climbed_bounds,
    refined,
)
from robustcert.certify.branching.program import (
    Forms,
    steepest_slopes,
    whole,
)
from robustcert.certify.branching.tree import Effort, Stand, Trees, planted

FIRST_LOOK = Climb(steps=12)
MARGINS = Climb(steps=30)
EFFORT = Effort(Climb(steps=10, price_rate=0.1), candidates=4)
LEAVES = 128
"""Leaves of margins that are split at once."""

FIRST_WORK = 600
"""What is spent at first on each stage and on the margins, in leaves; then doubled."""

SHARE = 2
"""A leaf of margins costs as many leaves of hidden units."""

GROWTH = 2

WORTH = 0.98
"""Hidden units get more work next time where no more than this share stays open."""

CROWDED = 0.8
"""A program is written anew where only this share of its units is not off."""


Look = Callable[[Tensor], bool]
"""Judges points ``(B, D)``; true where one of them settles the ball: it is broken."""


@dataclass(slots=True, eq=False)
class Question:
    """Whether all forms asked about exceed a target on the whole region.

    Attributes:
        stand: what is known of the net.
        forms: those still open, float64.
        value: ``(P,)`` float64, proved.
        slopes: ``(P, units)`` multipliers to start from.
        target: to exceed.
        look: told of every point that may break the ball.
        over: whether the time is up.
        broken: whether one did.
        rounds: of branching so far.
    """

    stand: Stand
    forms: Forms
    value: Tensor
    slopes: Tensor
    target: float
    look: Look
    over: Over
    hidden: Hidden = field(default_factory=Hidden)
    broken: bool = False
    rounds: int = 0

    @property
    def settled(self) -> bool:
        """Whether there is an answer: broken, or nothing left to prove."""
        return self.broken or len(self.forms) == 0


def settled(encoded: Encoded, target: float, look: Look, over: Over) -> Question:
    """Work on a ball until it is settled or the time is up.

    Args:
        encoded: the net in the ball; its outputs are the margins.
        target: the margin to exceed.
        look: see :class:`Question`.
        over: asked between rounds.

    Returns:
        The question: proved where ``forms`` is empty and it is not broken.
    """
    stand = Stand.of(encoded.program, encoded.bounds)
    forms = encoded.outputs
    question = Question(
        stand,
        forms,
        torch.full_like(forms.shift, -torch.inf),
        steepest_slopes(stand.guides).expand(len(forms), -1),
        target,
        look,
        over,
    )
    _bound_margins(question, FIRST_LOOK)
    if not question.settled and not over():
        _bound_hidden(question)
        _bound_margins(question, MARGINS)
    work = refining = FIRST_WORK
    while not question.settled and not over() and _has_splits(question):
        before = _open_units(question)
        _refine(question, refining)
        if _open_units(question) <= WORTH * before:
            refining *= GROWTH
        _bound_margins(question, MARGINS)
        if not question.settled:
            _branch(question, work)
        work *= GROWTH
    return question


def _bound_margins(question: Question, plan: Climb) -> None:
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
    question.value = torch.fmax(question.value, value)
    question.slopes = found.leaves.slopes
    _keep(question, ~(question.value > target))
    question.broken = len(question.forms) > 0 and question.look(found.points)


def _keep(question: Question, rows: Tensor) -> None:
    question.forms = question.forms.rows(rows)
    question.value = question.value[rows]
    question.slopes = question.slopes[rows]


def _bound_hidden(question: Question) -> None:
    """Better bounds of all stages, then a program without the units that are off."""
    stand, hidden = question.stand, question.hidden
    for stage in range(1, len(stand.program.stages)):
        if question.over():
            return
        stand = climbed_bounds(stand, hidden, stage)
    question.stand = stand
    _prune(question)


def _prune(question: Question) -> None:
    """A program without the units that are off on the whole ball."""
    stand = question.stand
    alive = stand.bounds.high > 0.0
    kept = dict(enumerate(stand.program.parts(alive)))
    question.hidden = question.hidden.without(stand, alive)
    question.forms = question.forms.reading(kept)
    question.slopes = question.slopes[:, alive]
    question.stand = Stand.of(stand.program.without(alive), stand.bounds.of(alive))


def _refine(question: Question, work: int) -> None:
    for stage in range(1, len(question.stand.program.stages)):
        if question.over():
            return
        if stage > 1 or stage not in question.hidden.units:
            question.stand = climbed_bounds(question.stand, question.hidden, stage)
        question.stand = refined(
            question.stand, question.hidden, stage, work, question.over
        )
    if (question.stand.bounds.high > 0.0).double().mean() < CROWDED:
        _prune(question)


def _branch(question: Question, work: int) -> None:
    """Split for the margins; margins whose whole tree is closed are done.

    Trees are planted anew each time: with better hidden bounds other splits are best.
    """
    trees = planted(
        question.forms,
        question.value,
        whole(question.slopes),
        question.target,
        EFFORT,
    )
    only_margins = not _has_hidden_work(question)
    while work > 0 or only_margins:
        slots = trees.pool.worst_and_nearest(LEAVES)
        if not len(slots) or question.over():
            break
        points = trees.advance(question.stand, slots)
        question.rounds += 1
        work -= SHARE * len(slots) + ROUND
        if question.look(points):
            question.broken = True
            return
    _note(question, trees)


def _note(question: Question, trees: Trees) -> None:
    least = trees.pool.least()
    question.value = torch.fmax(question.value, least.clamp(max=question.target))
    _keep(question, ~(least > question.target))


def _open_units(question: Question) -> int:
    return int(question.stand.bounds.is_open.sum())


def _has_splits(question: Question) -> bool:
    return bool(question.stand.bounds.is_open.any())


def _has_hidden_work(question: Question) -> bool:
    """Whether a unit behind the first stage is open."""
    program = question.stand.program
    first = len(program.stages[0])
    return bool(question.stand.bounds.of(slice(first, None)).is_open.any())
