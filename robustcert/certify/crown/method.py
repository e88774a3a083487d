"""CROWN as a certifier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from robustcert.certify.crown.balls import balls_of
from robustcert.certify.crown.footprint import samples_at_once
from robustcert.certify.crown.hidden import Bounds, crown_values, enclosure
from robustcert.certify.crown.margins import kept, margin_bounds
from robustcert.certify.interface import CertificationTask, Certifier, Proof
from robustcert.certify.radius import ByBisection
from robustcert.graph.layers import LayerGraph
from robustcert.results.norm import Norm


def crown(graph: LayerGraph, _: Norm) -> Certifier:
    """Linear bounds of every margin, carried back to the input through the graph.

    Units that intervals leave undecided are bounded in the same way, layer by layer.
    Everything is computed in float64 and moved past its rounding.

    Args:
        graph: any layers but those without linear bounds.

    Reference:
        Zhang et al. Efficient Neural Network Robustness Certification with General
            Activation Functions. NeurIPS 2018.
    """
    return _Crown(graph.to(torch.float64))


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Crown(ByBisection):
    graph: LayerGraph

    def prove(
        self, task: CertificationTask, radii: Tensor, seconds: float = math.inf
    ) -> Proof:
        """See :class:`~robustcert.certify.interface.Certifier`."""
        del seconds  # one pass, which ends
        proved = torch.zeros_like(task.labels, dtype=torch.bool)
        for rows in torch.split(torch.arange(len(task)), samples_at_once(self.graph)):
            found = crown_pass(self.graph, task.subset(rows), radii[rows])
            proved[rows] = found.proved
        return Proof(proved)


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """What a pass over N samples found.

    Attributes:
        proved: ``(N,)`` bool.
        left: bounds of what activations see on the samples that are not proved, in
            their order; ``None`` where all are.
    """

    proved: Tensor
    left: Bounds | None


@torch.no_grad()
def crown_pass(graph: LayerGraph, task: CertificationTask, radii: Tensor) -> Pass:
    """Bounds of the margins, at first with plain intervals in the hidden layers.

    Args:
        graph: the task's, float64.
        task: N samples.
        radii: ``(N,)`` float64, in input units.
    """
    quick = enclosure(graph, balls_of(task, radii), None)
    proved = kept(task, margin_bounds(task, quick, crown_values))
    left = (~proved).nonzero().flatten()
    if not len(left):
        return Pass(proved, None)
    rest = task.subset(left)
    known = {i: (low[left], high[left]) for i, (low, high) in quick.seen.items()}
    full = enclosure(graph, balls_of(rest, radii[left]), crown_values, known)
    good = kept(rest, margin_bounds(rest, full, crown_values))
    proved[left] = good
    return Pass(
        proved,
        None
        if bool(good.all())
        else {i: (low[~good], high[~good]) for i, (low, high) in full.seen.items()},
    )
