"""The product of the layers' norms along the graph."""

from __future__ import annotations

import torch

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.layers import Add, Concat, Input, LayerGraph
from robustcert.lipschitz.interface import Problem
from robustcert.lipschitz.norm_table import NormTable
from robustcert.lipschitz.upper.prepared import prepared_graph
from robustcert.lipschitz.upper.propagation import check_finite, layer_bounds
from robustcert.results.bound import UpperBound
from robustcert.results.effort import Effort
from robustcert.results.norm import Norm

NAME = "spectral_product"
_CPU = torch.device("cpu")


def spectral_product(problem: Problem, _: Effort) -> UpperBound:
    """Upper bound of the map from inputs to logits, everywhere.

    Sound because each factor is an upper bound of its layer's norm and every step
    rounds up. A net whose output is constant by its weights gets exactly 0.

    Raises:
        UnsupportedLayerError: there is no graph, or a layer has no rule.
        UnsoundModelError: a weight is NaN or infinite.

    Reference:
        Szegedy et al. Intriguing Properties of Neural Networks. ICLR 2014, section 4.3.
    """
    graph = prepared_graph(problem)
    table = problem.memo.once("norms", NormTable)
    bounds = layer_bounds(graph, problem.norm, table)
    return UpperBound(bounds[-1], problem.norm, NAME)


def layer_norms(
    graph: LayerGraph, norm: Norm, table: NormTable | None = None
) -> tuple[float | None, ...]:
    """Upper bound of each layer's operator norm, in the graph's order, unfolded.

    Args:
        graph: as shipped.
        norm: of inputs and outputs alike.
        table: norms that are known already, and where new ones are put.

    Returns:
        ``None`` for the input, for layers with several inputs and where there is no
        rule.

    Raises:
        UnsoundModelError: a weight is NaN or infinite.
    """
    check_finite(graph)
    norms = NormTable() if table is None else table
    return tuple(
        _norm_or_none(graph, position, norm, norms)
        for position in range(len(graph.layers))
    )


def _norm_or_none(
    graph: LayerGraph, position: int, norm: Norm, norms: NormTable
) -> float | None:
    layer = graph.layers[position]
    if isinstance(layer, Input | Add | Concat):
        return None
    try:
        shape = graph.layers[layer.inputs[0]].shape
        return norms.bound(layer.to(torch.float64, _CPU), shape, norm)
    except UnsupportedLayerError:
        return None
