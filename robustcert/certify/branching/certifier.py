"""Complete verification of piecewise linear nets: every ball is settled, given time."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from robustcert.certify.branching.ascent import (
    climbed_points,
    nearest_of_ball,
    suspects_by_ascent,
)
from robustcert.certify.branching.build import encoded
from robustcert.certify.branching.rectifiers import rectified
from robustcert.certify.branching.region import region_around
from robustcert.certify.branching.sample import settled
from robustcert.certify.interface import CertificationTask, Certifier, Proof
from robustcert.certify.logits import binary_as_pair
from robustcert.certify.radius import ByBisection
from robustcert.graph.execute import run
from robustcert.graph.layers import LayerGraph
from robustcert.lipschitz.upper.propagation import check_finite
from robustcert.results.norm import Norm
from robustcert.tensors import margins

SECONDS = 10.0
"""A sample, where no limit is given."""

_LOOKED_AT = 16
"""Points a round that are run through the graph, most promising first."""

_CLIMB_EVERY = 64
"""Rounds between ascents from such points; the first ones come after 1, 2, 4, ..."""

_STRIDE = 0.5
"""First step of such an ascent, as a share of the radius."""


def branch_and_bound(graph: LayerGraph, norm: Norm) -> Certifier:
    """Settles whether a ball holds an input of another class.

    Root bounds with optimised slopes; then, in turns of growing effort, trees for the
    bounds of hidden units, layer by layer, and trees for the margins. Every bound that
    is relied on is confirmed in float64 with its rounding subtracted.

    Args:
        graph: float64, with piecewise linear activations.
        norm: L2 or L-infinity.

    Raises:
        UnsupportedLayerError: an activation is smooth, or a pooling window is padded.
        UnsoundModelError: a weight is NaN or infinite.

    References:
        Bunel et al. Branch and Bound for Piecewise Linear Neural Network Verification.
            JMLR 2020.
        Wang et al. Beta-CROWN. NeurIPS 2021.
        Xu et al. Fast and Complete: Enabling Complete Neural Network Verification with
            Rapid and Massively Parallel Incomplete Verifiers. ICLR 2021 (slopes).
    """
    check_finite(graph)
    return BranchAndBound(norm, rectified(graph))


@final
@dataclass(frozen=True, slots=True, eq=False)
class BranchAndBound(ByBisection):
    """The certifier of one model; samples are settled one by one."""

    norm: Norm
    graph: LayerGraph

    def prove(
        self, task: CertificationTask, radii: Tensor, seconds: float = math.inf
    ) -> Proof:
        """See :meth:`robustcert.certify.interface.Certifier.prove`."""
        limit = SECONDS if math.isinf(seconds) else seconds
        with torch.no_grad():
            gaps = margins(binary_as_pair(run(task.graph, task.inputs)), task.labels)
            proved = torch.zeros_like(task.labels, dtype=torch.bool)
            asked = (gaps > task.slack).nonzero().flatten()
            some = task.subset(asked)
            found = suspects_by_ascent(some, radii[asked])
            suspects = {int(asked[row]): point for row, point in found.items()}
            for row in asked.tolist():
                if row in suspects:
                    continue
                ball = _Ball(task.rows(row, row + 1), float(radii[row]))
                proved[row] = ball.proved(self.graph, limit)
                if ball.suspects:
                    suspects[row] = ball.suspects[0]
        return Proof(proved, suspects)


@dataclass(slots=True, eq=False)
class _Ball:
    """One sample and its ball."""

    task: CertificationTask
    radius: float
    suspects: list[Tensor] = field(default_factory=list)
    looks: int = 0

    def proved(self, graph: LayerGraph, seconds: float) -> bool:
        """Whether the margin is proved to exceed the slack on the ball."""
        end, task = time.monotonic() + seconds, self.task

        def over() -> bool:
            return time.monotonic() > end

        centre = task.inputs[0].flatten()
        region = region_around(centre, self.radius, task.norm, task.box)
        weighting = _margin_rows(graph.outputs, int(task.labels[0]))
        program = encoded(graph, region, weighting, over)
        if program is None:
            return False
        question = settled(program, float(task.slack[0]), self.look, over)
        return not question.broken and len(question.forms) == 0

    def look(self, points: Tensor) -> bool:
        """Keep the point with the smallest margin if it does not exceed the slack.

        Now and then the points are led uphill first.
        """
        task = self.task
        self.looks += 1
        some = points[:_LOOKED_AT].to(task.inputs).reshape(-1, *task.inputs.shape[1:])
        radii = torch.full((len(some),), self.radius, dtype=torch.float64)
        inside = nearest_of_ball(task, some, task.inputs.expand_as(some), radii)
        if self._keep(inside):
            return True
        if self.looks & (self.looks - 1) and self.looks % _CLIMB_EVERY:
            return False
        return self._keep(climbed_points(task, inside, self.radius, _STRIDE))

    def _keep(self, points: Tensor) -> bool:
        task = self.task
        logits = binary_as_pair(run(task.graph, points))
        gaps = margins(logits, task.labels.expand(len(points)))
        worst = int(gaps.argmin())
        if bool(gaps[worst] <= task.slack[0]):
            self.suspects.append(points[worst].clone())
            return True
        return False


def _margin_rows(outputs: int, label: int) -> Tensor:
    """``(P, K)``: the label's logit minus every other one."""
    if outputs == 1:
        return torch.full((1, 1), 1.0 if label == 1 else -1.0, dtype=torch.float64)
    rows = -torch.eye(outputs, dtype=torch.float64)
    rows[:, label] = 1.0
    keep = torch.arange(outputs) != label
    return rows[keep]
