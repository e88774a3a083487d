"""Lipschitz constants in weighted norms, as those of another graph.

``|W_out (f(x) - f(y))| <= L |W_in (x - y)|`` for all x, y says that
``W_out f(W_in^-1 u)`` has constant L. So exact linear layers are put in front of and
behind the graph, and every method bounds the weighted constant by itself.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from robustcert.errors import UsageError
from robustcert.graph.layers import Affine, Layer, LayerGraph, Linear, Reshape

_REMEDY = "Give one finite weight above 0 for each coordinate."
INPUT, OUTPUT = "weighted input", "weighted output"


def with_input_weights(graph: LayerGraph, weights: Tensor) -> LayerGraph:
    """``u -> f(u / weights)``: inputs measured by ``|weights * x|``.

    The reciprocals are rounded up, which can only raise the constant: a coordinate that
    is stretched by ``d >= 1`` on the way in is u followed by a map of norm 1.

    Args:
        graph: any.
        weights: ``(*input_shape)``, positive.

    Returns:
        A graph in float64, like all in this file.

    Raises:
        UsageError: a weight or its reciprocal is not a positive number, or the shape is
            another.
    """
    _require_weights(weights, graph.input_shape)
    exact = weights.to(torch.float64)
    lengths = torch.nextafter(1.0 / exact, torch.full_like(exact, torch.inf))
    _require_weights(lengths, graph.input_shape)
    zeros = torch.zeros_like(lengths)
    first = Affine(INPUT, (0,), graph.input_shape, lengths, zeros)
    wide = graph.to(torch.float64)
    rest = [_moved(layer, 1) for layer in wide.layers[1:]]
    return LayerGraph((wide.layers[0], first, *rest))


def with_input_map(graph: LayerGraph, matrix: Tensor) -> LayerGraph:
    """``u -> f(M u)``, the input flattened: inputs measured by ``|M^-1 x|``.

    No inverse is taken, so that nothing rounds: the metric ``|W x|`` is asked for by
    ``M = W^-1``, as exact as the caller has it. With fewer columns than rows, only
    moves in the columns' span count.

    Args:
        graph: any.
        matrix: ``(n, k)``, n being the number of input coordinates.

    Raises:
        UsageError: an entry is not a number, or the shape is another.
    """
    size = graph.layers[0].size
    if matrix.ndim != 2 or len(matrix) != size or not _finite(matrix):
        raise UsageError(
            f"an input map is a finite matrix with {size} rows",
            remedy="Give one row for each input coordinate.",
        )
    first = replace(graph.layers[0], shape=(matrix.shape[1],))
    linear = Linear(INPUT, (0,), (size,), matrix.to(torch.float64), None)
    shaped = Reshape(f"{INPUT} shape", (1,), graph.input_shape)
    rest = [_moved(layer, 2) for layer in graph.to(torch.float64).layers[1:]]
    return LayerGraph((first, linear, shaped, *rest))


def with_output_weights(graph: LayerGraph, weights: Tensor) -> LayerGraph:
    """``x -> weights * f(x)``: outputs measured by ``|weights * y|``.

    Args:
        graph: any.
        weights: ``(K,)``, positive.

    Raises:
        UsageError: a weight is not a positive number, or the shape is another.
    """
    last = graph.layers[-1]
    _require_weights(weights, last.shape)
    source = (len(graph.layers) - 1,)
    exact = weights.to(torch.float64)
    scaled = Affine(OUTPUT, source, last.shape, exact, torch.zeros_like(exact))
    return LayerGraph((*graph.to(torch.float64).layers, scaled))


def with_output_rows(graph: LayerGraph, rows: Tensor) -> LayerGraph:
    """``x -> rows @ f(x)``, such as a difference of two logits.

    Args:
        graph: any.
        rows: ``(R, K)``, finite.

    Raises:
        UsageError: an entry is not a number, or the shape is another.
    """
    if rows.ndim != 2 or rows.shape[1] != graph.outputs or not _finite(rows):
        raise UsageError(
            f"output rows are a finite matrix with {graph.outputs} columns",
            remedy="Give one column for each logit.",
        )
    source = (len(graph.layers) - 1,)
    linear = Linear(OUTPUT, source, (len(rows),), rows.to(torch.float64), None)
    return LayerGraph((*graph.to(torch.float64).layers, linear))


def _moved(layer: Layer, by: int) -> Layer:
    return replace(layer, inputs=tuple(source + by for source in layer.inputs))


def _require_weights(weights: Tensor, shape: tuple[int, ...]) -> None:
    if torch.Size(weights.shape) != torch.Size(shape):
        raise UsageError(
            f"the weights have shape {tuple(weights.shape)}, not {tuple(shape)}",
            remedy=_REMEDY,
        )
    if not _finite(weights) or not bool((weights > 0.0).all()):
        raise UsageError("a weight is not a positive number", remedy=_REMEDY)


def _finite(values: Tensor) -> bool:
    return bool(torch.isfinite(values).all())
