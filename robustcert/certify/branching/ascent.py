"""A quick look for inputs that break a ball, before anything is proved about it.

Plain ascent on the margins of a few runner-up classes, all samples together. It is no
attack to report: what it finds saves a proof that cannot succeed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustcert.certify.interface import CertificationTask
from robustcert.certify.logits import binary_as_pair
from robustcert.graph.execute import run
from robustcert.graph.layers import LayerGraph
from robustcert.results.norm import Norm
from robustcert.tensors import lp_norms, margins, rows_like, steepest_unit

STEPS = 25
RIVALS = 3
"""Classes aimed at, those with the largest logits first."""

CHUNK = 256


def suspects_by_ascent(task: CertificationTask, radii: Tensor) -> dict[int, Tensor]:
    """By row an input of the ball whose margin does not exceed the slack, if found.

    Args:
        task: N samples.
        radii: ``(N,)`` float64, in input units.
    """
    sketch = task.graph.to(torch.float32)
    found: dict[int, Tensor] = {}
    for rows in torch.split(torch.arange(len(task)), CHUNK):
        points = _runners_up_climbed(sketch, task.subset(rows), radii[rows])
        hits = zip(rows.tolist(), points, strict=True)
        found |= {row: point for row, point in hits if point is not None}
    return found


def nearest_of_ball(
    task: CertificationTask, points: Tensor, centres: Tensor, radii: Tensor
) -> Tensor:
    """Points ``(B, *shape)`` moved into ball and box around ``centres``."""
    moves, reach = points - centres, rows_like(radii, points)
    if task.norm is Norm.LINF:
        near = torch.minimum(torch.maximum(moves, -reach), reach)
    else:
        lengths = rows_like(lp_norms(moves, Norm.L2), points).clamp(min=1e-300)
        near = moves * (reach / lengths * (1.0 - 1e-12)).clamp(max=1.0)
    return (centres + near).clamp(task.box.low, task.box.high)


def climbed_points(
    task: CertificationTask, points: Tensor, radius: float, stride: float
) -> Tensor:
    """Points ``(B, *shape)`` of one sample's ball after ascent to their best rival.

    Args:
        task: one sample.
        points: where to start, in the ball.
        radius: of the ball.
        stride: of the first step, as a share of the radius.
    """
    labels = task.labels.expand(len(points))
    radii = torch.full((len(points),), radius, dtype=torch.float64)
    logits = binary_as_pair(run(task.graph, points))
    rivals = logits.scatter(1, labels[:, None], -torch.inf).argmax(dim=1)
    whole = CertificationTask(
        task.graph,
        task.inputs.expand_as(points),
        labels,
        task.norm,
        task.box,
        task.slack.expand(len(points)),
    )
    sketch = task.graph.to(torch.float32)
    return _climbed(sketch, whole, points, rivals, radii, stride)


def _runners_up_climbed(
    sketch: LayerGraph, task: CertificationTask, radii: Tensor
) -> list[Tensor | None]:
    logits = binary_as_pair(run(task.graph, task.inputs))
    others = logits.scatter(1, task.labels[:, None], -torch.inf)
    count = min(RIVALS, logits.shape[1] - 1)
    rivals = others.topk(count, dim=1).indices.flatten()
    rows = torch.arange(len(task)).repeat_interleave(count)
    some = task.subset(rows)
    points = _climbed(sketch, some, some.inputs, rivals, radii[rows], 2.0)
    gaps = margins(binary_as_pair(run(task.graph, points)), some.labels)
    worst = gaps.reshape(-1, count).min(dim=1)
    hit = worst.values <= task.slack
    places = torch.arange(len(task)) * count + worst.indices
    return [
        points[place] if bool(broken) else None
        for place, broken in zip(places, hit, strict=True)
    ]


def _climbed(
    sketch: LayerGraph,
    task: CertificationTask,
    points: Tensor,
    rivals: Tensor,
    radii: Tensor,
    stride: float,
) -> Tensor:
    """Each sample's point after :data:`STEPS` shrinking steps towards its rival."""
    for step in range(STEPS):
        slopes = _slopes(sketch, points.float(), task.labels, rivals)
        length = rows_like(radii * stride * (1.0 - step / STEPS), points)
        moved = points + length * steepest_unit(slopes, task.norm).to(points)
        points = nearest_of_ball(task, moved, task.inputs, radii)
    return points


def _slopes(
    sketch: LayerGraph, points: Tensor, labels: Tensor, rivals: Tensor
) -> Tensor:
    with torch.enable_grad():
        leaf = points.detach().requires_grad_()
        logits = binary_as_pair(run(sketch, leaf))
        rise = logits.gather(1, rivals[:, None]) - logits.gather(1, labels[:, None])
        (slopes,) = torch.autograd.grad(rise.sum(), leaf)
    return slopes
