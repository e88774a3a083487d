"""Inputs that look for a misclassification inside a ball, from many sides.

All take N balls, inside the box, and give float64 inputs ``(N, *shape)`` that lie in
both, as far as float64 can tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.certify.logits import binary_as_pair
from robustcert.graph.execute import run
from robustcert.graph.layers import LayerGraph
from robustcert.results.norm import Norm
from robustcert.results.threat_model import Box
from robustcert.tensors import lp_norms, margins, rows_like, steepest_unit

STEPS = 12
"""Of each ascent."""

HALVINGS = 30
"""Of a segment towards an input of another class."""


@dataclass(frozen=True, slots=True, eq=False)
class Balls:
    """What is claimed: no input of a ball and the box has another class.

    Attributes:
        graph: in float64.
        centres: ``(N, *shape)`` float64, inside the box.
        labels: ``(N,)`` int64.
        radii: ``(N,)`` float64.
        norm: of the radii.
        box: of the inputs.
    """

    graph: LayerGraph
    centres: Tensor
    labels: Tensor
    radii: Tensor
    norm: Norm
    box: Box

    def margins(self, inputs: Tensor) -> Tensor:
        """``(N,)`` margins at one input a ball."""
        return margins(binary_as_pair(run(self.graph, inputs)), self.labels)

    def inside(self, inputs: Tensor) -> Tensor:
        """The inputs moved into their balls and the box."""
        moved = (inputs - self.centres).nan_to_num()
        reach = rows_like(self.radii, moved)
        if self.norm is Norm.LINF:
            moved = torch.minimum(torch.maximum(moved, -reach), reach)
        else:
            lengths = rows_like(lp_norms(moved, Norm.L2), moved)
            moved = moved * (reach / lengths.clamp(min=1e-300)).clamp(max=1.0)
        return (self.centres + moved).clamp(self.box.low, self.box.high)


def tried(balls: Balls, generator: torch.Generator) -> Iterator[Tensor]:
    """Uniform inputs, corners, iterates of ascents, ends of segments."""
    for _ in range(6):
        yield _uniform(balls, generator)
        yield _corners(balls, generator)
    yield from _ascent(balls, balls.centres)
    yield from _ascent(balls, _uniform(balls, generator))
    yield from _ascent(balls, _corners(balls, generator))


def crossings(balls: Balls, others: Tensor) -> Iterator[Tensor]:
    """Where the way from each centre to each other input first seems to change class.

    They lie anywhere; one that lies inside its ball disproves the claim.

    Args:
        balls: the claims.
        others: ``(M, *shape)`` float64, inside the box.
    """
    for other in others:
        ends = other.expand_as(balls.centres)
        low = torch.zeros(len(balls.radii), dtype=torch.float64)
        high = torch.ones_like(low)
        for _ in range(HALVINGS):
            middle = (low + high) / 2.0
            point = torch.lerp(balls.centres, ends, rows_like(middle, ends))
            right = balls.margins(point) > 0.0
            low, high = middle.where(right, low), high.where(right, middle)
        yield torch.lerp(balls.centres, ends, rows_like(high, ends))


def _uniform(balls: Balls, generator: torch.Generator) -> Tensor:
    shape = balls.centres.shape
    if balls.norm is Norm.LINF:
        unit = 2.0 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1.0
    else:
        unit = torch.randn(shape, generator=generator, dtype=torch.float64)
        depth = torch.rand(shape[0], generator=generator, dtype=torch.float64)
        lengths = lp_norms(unit, Norm.L2) / depth ** (1.0 / shape[1:].numel())
        unit = unit / rows_like(lengths, unit)
    return balls.inside(balls.centres + rows_like(balls.radii, unit) * unit)


def _corners(balls: Balls, generator: torch.Generator) -> Tensor:
    noise = torch.randn(balls.centres.shape, generator=generator, dtype=torch.float64)
    unit = steepest_unit(noise, balls.norm)
    return balls.inside(balls.centres + rows_like(balls.radii, unit) * unit)


def _ascent(balls: Balls, start: Tensor) -> Iterator[Tensor]:
    points = start
    for step in range(STEPS):
        points = points.detach().requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(balls.margins(points).sum(), points)
        stride = balls.radii * 2.0 * (1.0 - step / STEPS)
        unit = steepest_unit(slope, balls.norm)
        points = balls.inside(points.detach() - rows_like(stride, unit) * unit)
        yield points
