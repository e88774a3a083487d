"""alpha-CROWN as a certifier."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from robustcert.certify.crown.balls import balls_of
from robustcert.certify.crown.footprint import samples_at_once
from robustcert.certify.crown.forms import Forms, Relaxed
from robustcert.certify.crown.hidden import Bounds, Enclosure, enclosure
from robustcert.certify.crown.margins import kept, margin_bounds
from robustcert.certify.crown.method import crown_pass
from robustcert.certify.crown.slopes import Ascent, Over, best_slopes, never
from robustcert.certify.crown.substitution import least_values
from robustcert.certify.interface import CertificationTask, Certifier, Proof
from robustcert.certify.radius import ByBisection
from robustcert.graph.layers import LayerGraph
from robustcert.results.norm import Norm

HIDDEN = Ascent(steps=6, rate=0.3)
"""For bounds of hidden units, each with slopes of its own."""

MARGINS = Ascent(steps=30, rate=0.3)
"""For the margins, each with slopes of its own."""

_SPARE = 1e-4
"""What float32 must show above the goal before a form is left alone, relative to 1."""


def alpha_crown(graph: LayerGraph, _: Norm) -> Certifier:
    """CROWN with lower slopes of every hidden unit's and every margin's own.

    Slopes are searched by gradient ascent in float32; with those found, every bound is
    computed in float64 and moved past its rounding. Activations other than ReLU and
    leaky ReLU keep their lines.

    Args:
        graph: any layers but those without linear bounds.

    Reference:
        Xu et al. Fast and Complete: Enabling Complete Verification with Rapid and
            Massively Parallel Incomplete Verifiers. ICLR 2021.
    """
    return _AlphaCrown(graph.to(torch.float64), graph.to(torch.float32))


@final
@dataclass(frozen=True, slots=True, eq=False)
class _AlphaCrown(ByBisection):
    graph: LayerGraph
    draft: LayerGraph

    @torch.no_grad()
    def prove(
        self, task: CertificationTask, radii: Tensor, seconds: float = math.inf
    ) -> Proof:
        """See :class:`~robustcert.certify.interface.Certifier`."""
        proved = torch.zeros_like(task.labels, dtype=torch.bool)
        for rows in torch.split(torch.arange(len(task)), samples_at_once(self.graph)):
            over = _after(seconds * len(rows))
            first = crown_pass(self.graph, task.subset(rows), radii[rows])
            proved[rows] = first.proved
            if first.left is None or over():
                continue
            left = rows[~first.proved]
            some = task.subset(left)
            proved[left] = self._proved(some, radii[left], first.left, over)
        return Proof(proved)

    def _proved(
        self, task: CertificationTask, radii: Tensor, known: Bounds, over: Over
    ) -> Tensor:
        goals = torch.zeros_like(task.slack) + _SPARE
        hidden = SlopeSearch(self.draft, goals, HIDDEN, over)
        found = enclosure(self.graph, balls_of(task, radii), hidden, known)
        margins = SlopeSearch(self.draft, goals + task.slack, MARGINS, over)
        return kept(task, margin_bounds(task, found, margins))


@dataclass(slots=True, eq=False)
class SlopeSearch:
    """Bounds with searched slopes: see :data:`~robustcert.certify.crown.hidden.Least`.

    Attributes:
        draft: the graph in the dtype of the search.
        goals: ``(N,)`` bounds that need no improvement.
        ascent: steps and rate.
        over: whether the time is up; nothing is bounded any more then.
    """

    draft: LayerGraph
    goals: Tensor
    ascent: Ascent
    over: Over = never
    _drafted: tuple[Enclosure, int, Relaxed] | None = field(default=None, init=False)

    def __call__(self, known: Enclosure, forms: Forms) -> Tensor:
        """Lower bounds ``(R,)`` in float64, rounding not considered."""
        if self.over():
            return torch.full_like(forms.shift, -torch.inf)
        relaxed = self._draft_of(known)
        goals = self.goals[forms.samples].to(self.draft.dtype)
        sketches = forms.to(self.draft.dtype)
        slopes = best_slopes(relaxed, sketches, goals, self.ascent, self.over)
        forms.slopes = {i: held.to(forms.shift) for i, held in slopes.items()}
        return least_values(known.relaxed, forms)

    def _draft_of(self, known: Enclosure) -> Relaxed:
        """The relaxed graph in the search's dtype, converted once a layer."""
        held, layers = self._drafted, len(known.lines)
        if held is None or held[0] is not known or held[1] != layers:
            held = known, layers, known.relaxed.on(self.draft)
            self._drafted = held
        return held[2]


def _after(seconds: float) -> Over:
    """Whether so much time has passed from now on."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end
