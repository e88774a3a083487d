"""A graph with the gaps between a class's logit and all others as its outputs."""

from __future__ import annotations

import torch
from torch import Tensor

from robustcert.graph.layers import LayerGraph
from robustcert.lipschitz.local.intervals import Interval, propagated
from robustcert.lipschitz.weighted import with_output_rows


def with_gaps(graph: LayerGraph, label: int) -> LayerGraph:
    """``x -> f_y(x) - f_k(x)`` for every class k but y: ``(K - 1,)`` outputs, float64.

    A single logit z stands for the two logits (0, z).

    Args:
        graph: any, on the CPU.
        label: the class y.
    """
    return with_output_rows(graph, _gap_rows(graph.outputs, label))


def gaps_at(gaps: LayerGraph, point: Tensor) -> Tensor:
    """Lower bounds ``(K - 1,)`` of the gaps at one input, past all rounding.

    Args:
        gaps: from :func:`with_gaps`.
        point: ``(*shape)`` float64.
    """
    return propagated(gaps, Interval(point[None], point[None]))[-1].low[0]


def _gap_rows(outputs: int, label: int) -> Tensor:
    if outputs == 1:
        return torch.tensor([[1.0 if label == 1 else -1.0]], dtype=torch.float64)
    unit = torch.eye(outputs, dtype=torch.float64)
    rows = unit[label] - unit
    return rows[torch.arange(outputs) != label]
