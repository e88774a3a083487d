"""Interval bound propagation, rounded towards safety.

Reference:
    Gowal et al. On the Effectiveness of Interval Bound Propagation for Training
    Verifiably Robust Models. 2018.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.certify.interface import CertificationTask, Certifier, Proof
from robustcert.certify.interval_rules import (
    Interval,
    ball_range,
    between,
    intersection,
    propagate,
    row_range,
)
from robustcert.certify.radius import ByBisection
from robustcert.graph.fold import folded
from robustcert.graph.layers import (
    Conv,
    Input,
    Layer,
    LayerGraph,
    Linear,
    Reshape,
)
from robustcert.results.norm import Norm
from robustcert.tensors import rows_like

CHUNK = 64
"""Samples that are propagated together."""


@dataclass(frozen=True, slots=True, eq=False)
class IntervalCertifier(ByBisection):
    """Proves that the label's logit stays above all others.

    The last layer is taken together with the margins: bounds are on ``f_y - f_k``, not
    on the logits one by one.

    Attributes:
        graph: folded, float64.
    """

    graph: LayerGraph

    def prove(
        self,
        task: CertificationTask,
        radii: Tensor,
        seconds: float = math.inf,  # noqa: ARG002 - it takes a few passes whatever the ball
    ) -> Proof:
        """See :meth:`robustcert.certify.interface.Certifier.prove`."""
        parts = [torch.zeros(0, dtype=torch.bool)]
        with torch.no_grad():
            for start in range(0, len(task), CHUNK):
                part = task.rows(start, start + CHUNK)
                bounds = margin_bounds(part, self.graph, radii[start : start + CHUNK])
                parts.append(bounds > part.slack)
        return Proof(torch.cat(parts))


def interval(graph: LayerGraph, _: Norm) -> Certifier:
    """The certifier for one model; it serves every norm."""
    return IntervalCertifier(folded(graph))


def margin_bounds(task: CertificationTask, graph: LayerGraph, radii: Tensor) -> Tensor:
    """Lower bounds ``(N,)`` on the margin over the ball of each sample's radius.

    Args:
        task: samples, norm and box.
        graph: the task's, folded.
        radii: ``(N,)`` float64, in input units.
    """
    reach = rows_like(radii, task.inputs)
    low = (task.inputs - reach).clamp(task.box.low, task.box.high)
    high = (task.inputs + reach).clamp(task.box.low, task.box.high)
    intervals = [between(low, high)]
    for layer in graph.layers[1:-1]:
        intervals.append(_step(layer, graph, intervals, task, radii))
    last = graph.layers[-1]
    if isinstance(last, Linear) and last.size > 1 and len(last.inputs) == 1:
        return _last_linear(last, graph, intervals, task, radii)
    return _from_logits(_step(last, graph, intervals, task, radii), task.labels)


def _step(
    layer: Layer,
    graph: LayerGraph,
    intervals: list[Interval],
    task: CertificationTask,
    radii: Tensor,
) -> Interval:
    result = propagate(layer, [intervals[source] for source in layer.inputs])
    if (
        task.norm is Norm.L2
        and isinstance(layer, Linear | Conv)
        and _is_the_input(graph, layer.inputs[0])
    ):
        source = task.inputs.reshape(-1, *graph.layers[layer.inputs[0]].shape)
        ball = ball_range(layer, source, rows_like(radii, result.centre))
        return intersection(result, ball)
    return result


def _is_the_input(graph: LayerGraph, position: int) -> bool:
    """Whether a layer's output is the input, perhaps in another shape."""
    layer = graph.layers[position]
    while isinstance(layer, Reshape):
        layer = graph.layers[layer.inputs[0]]
    return isinstance(layer, Input)


def _last_linear(
    layer: Linear,
    graph: LayerGraph,
    intervals: list[Interval],
    task: CertificationTask,
    radii: Tensor,
) -> Tensor:
    """Margins over the last layer's input: one row w_y - w_k a class."""
    labels, source = task.labels, intervals[layer.inputs[0]]
    rows = layer.weight[labels][:, None] - layer.weight[None]
    shift: Tensor | float = 0.0
    if layer.bias is not None:
        shift = layer.bias[labels][:, None] - layer.bias[None]
    gaps = row_range(rows, shift, source).low
    if task.norm is Norm.L2 and _is_the_input(graph, layer.inputs[0]):
        point = between(task.inputs.flatten(1), task.inputs.flatten(1))
        reach = radii[:, None] * rows.norm(dim=2) * (1.0 + 1e-12)
        gaps = torch.maximum(gaps, row_range(rows, shift, point).low - reach)
    return gaps.scatter(1, labels[:, None], torch.inf).amin(dim=1)


def _from_logits(logits: Interval, labels: Tensor) -> Tensor:
    if logits.centre.shape[1] == 1:
        return torch.where(labels == 1, logits.low[:, 0], -logits.high[:, 0])
    at_label = logits.low.gather(1, labels[:, None])
    others = logits.high.scatter(1, labels[:, None], -torch.inf)
    return (at_label - others.amax(dim=1, keepdim=True)).squeeze(1)
