"""What is asked about one ball, and what is known of it so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustcert.certify.branching.hidden import Hidden, Over
from robustcert.certify.branching.program import Forms, steepest_slopes
from robustcert.certify.branching.tree import Stand, Trees

Look = Callable[[Tensor], bool]
"""Judges points ``(B, D)``; true where one of them settles the ball: it is broken."""


@dataclass(slots=True, eq=False)
class Grown:
    """Trees of the margins.

    Attributes:
        trees: one a form.
        roots: ``(P,)`` float64, bounds by multipliers alone when they were planted.
        looseness: of the net at that time.
        work: spent on them, in leaves of hidden units.
    """

    trees: Trees
    roots: Tensor
    looseness: float
    work: int = 0


@dataclass(slots=True, eq=False)
class Question:
    """Whether all forms asked about exceed a target on the whole region.

    Attributes:
        stand: what is known of the net.
        forms: those still open, float64.
        value: ``(P,)`` float64, proved.
        roots: ``(P,)`` float64, proved by multipliers alone.
        slopes: ``(P, units)`` multipliers to start from.
        target: to exceed.
        look: told of every point that may break the ball.
        over: whether the time is up.
        hidden: what is kept for the bounds of hidden units.
        broken: whether a point did.
        hopeless: whether rounding decides it: no work will.
        grown: the trees of the margins, once there are any.
        rounds: of branching so far.
    """

    stand: Stand
    forms: Forms
    value: Tensor
    roots: Tensor
    slopes: Tensor
    target: float
    look: Look
    over: Over
    hidden: Hidden = field(default_factory=Hidden)
    broken: bool = False
    hopeless: bool = False
    grown: Grown | None = None
    rounds: int = 0

    @staticmethod
    def of(
        stand: Stand, forms: Forms, target: float, look: Look, over: Over
    ) -> Question:
        """Nothing is known about the forms yet."""
        value = torch.full_like(forms.shift, -torch.inf)
        slopes = steepest_slopes(stand.guides).expand(len(forms), -1)
        return Question(stand, forms, value, value, slopes, target, look, over)

    @property
    def settled(self) -> bool:
        """Whether there is an answer, or none to be had."""
        return self.broken or self.hopeless or len(self.forms) == 0

    def keep(self, rows: Tensor) -> None:
        """Go on with some of the forms: those where the mask is true."""
        self.forms = self.forms.rows(rows)
        self.value, self.roots = self.value[rows], self.roots[rows]
        self.slopes = self.slopes[rows]
        everything = torch.ones_like(self.stand.bounds.is_open)
        self._keep_trees(rows, everything)

    def prune(self) -> None:
        """A program without the units that are off on the whole ball."""
        stand = self.stand
        alive = stand.bounds.high > 0.0
        kept = dict(enumerate(stand.program.parts(alive)))
        self.hidden = self.hidden.without(stand, alive)
        self.forms = self.forms.reading(kept)
        self.slopes = self.slopes[:, alive]
        self._keep_trees(torch.ones_like(self.value, dtype=torch.bool), alive)
        self.stand = Stand.of(stand.program.without(alive), stand.bounds.of(alive))

    def _keep_trees(self, rows: Tensor, alive: Tensor) -> None:
        if self.grown is not None:
            by_stage = dict(enumerate(self.stand.program.parts(alive)))
            self.grown.trees = self.grown.trees.without(rows, alive, by_stage)
            self.grown.roots = self.grown.roots[rows]
