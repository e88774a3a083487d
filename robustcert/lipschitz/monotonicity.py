"""Two constants of maps from a space to itself: displacement and monotonicity.

Both say how a map F behaves as a step of an iteration: the Lipschitz constant of ``x ->
x - F(x)``, which every method bounds by itself on the graph of the difference, and how
monotone F is, see :mod:`robustcert.results.monotonicity`.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from robustcert.errors import UsageError
from robustcert.graph.execute import run
from robustcert.graph.layers import Add, LayerGraph, Reshape
from robustcert.lipschitz.interface import Memo, Problem, required_graph
from robustcert.lipschitz.lower.claim import Pairs, evaluated, joined, require_finite
from robustcert.lipschitz.lower.jacobian import (
    Slopes,
    inset,
    jacobians_at,
    pairs_around,
)
from robustcert.lipschitz.lower.spawn import starts
from robustcert.lipschitz.lower.work import affordable_count, forward_cost
from robustcert.lipschitz.rounding import UNIT
from robustcert.results.bound import Witness
from robustcert.results.effort import Effort
from robustcert.results.monotonicity import MonotonicityBound
from robustcert.tensors import clip_to_box

_POINTS = {Effort.FAST: 128, Effort.TIGHT: 512, Effort.MAX: 4096}


def displacement(problem: Problem) -> Problem:
    """The Lipschitz constant of ``x -> x - F(x)``, as a problem of its own.

    Args:
        problem: with a graph F from n coordinates to n logits.

    Raises:
        UnsupportedLayerError: the model could not be read as layers.
        UsageError: inputs and outputs differ in size.
    """
    graph = _displacement(_square_graph(problem))
    return replace(
        problem,
        graph=graph,
        function=lambda x: run(graph, x.double()),
        sha256="",  # a certificate would not be one of the model's file
        memo=Memo(),
    )


def monotonicity_bound(problem: Problem, effort: Effort) -> MonotonicityBound:
    """Upper bound of the monotonicity constant on the box, by its worst pair found.

    Looks at the symmetric part of the Jacobian at inputs and random points, and at the
    pair about each point along the eigenvector of its smallest eigenvalue.

    Args:
        problem: with a graph from n coordinates to n logits; its norm is not read.
        effort: how many points.

    Raises:
        UnsupportedLayerError: the model could not be read as layers.
        UsageError: inputs and outputs differ in size, or the box is one point.
        UnsoundModelError: an output is NaN or infinite.
    """
    _square_graph(problem)
    generator = torch.Generator().manual_seed(problem.seed)
    cost = (1 + 2 * problem.size) * forward_cost(problem)
    count = affordable_count(_POINTS[effort], cost, effort)
    points = inset(starts(problem, count, generator), problem.box)
    close = pairs_around(_least_monotone(problem, points), problem.box)
    distant = Pairs(points.double(), points.roll(1, dims=0).double())
    return _worst(problem, joined([close, distant]))


def _square_graph(problem: Problem) -> LayerGraph:
    graph = required_graph(problem)
    if graph.outputs != problem.size:
        raise UsageError(
            f"the map takes {problem.size} coordinates to {graph.outputs}",
            remedy="Ask for the constants of a map from a space to itself.",
        )
    return graph


def _displacement(graph: LayerGraph) -> LayerGraph:
    """The graph of ``x -> x - F(x)``."""
    last = len(graph.layers) - 1
    flat = Reshape("displacement.input", (0,), (graph.outputs,))
    difference = Add("displacement", (last + 1, last), (graph.outputs,), weight=-1.0)
    return LayerGraph((*graph.layers, flat, difference))


def _least_monotone(problem: Problem, points: Tensor) -> Slopes:
    """The points with the eigenvectors of their smallest eigenvalues."""
    function = problem.working_map()
    parts = []
    for part in torch.split(points, max(1, 2**23 // problem.size**2)):
        jacobians = jacobians_at(function, part).double()
        values, vectors = torch.linalg.eigh((jacobians + jacobians.mT) / 2.0)
        parts.append((values[:, 0], vectors[:, :, 0]))
    values, vectors = (torch.cat(found) for found in zip(*parts, strict=True))
    return Slopes(points, vectors.reshape(points.shape), values)


def _worst(problem: Problem, pairs: Pairs) -> MonotonicityBound:
    """The pair with the smallest quotient, its rounding error added."""
    first, second = (
        clip_to_box(end.to("cpu", torch.float64), problem.box)
        for end in (pairs.first, pairs.second)
    )
    apart = (first != second).flatten(1).any(dim=1)
    first, second = first[apart], second[apart]
    if len(first) == 0:
        raise UsageError(
            "the box holds no two points", remedy="Give a box with low < high."
        )
    outputs, errors = evaluated(problem, torch.cat([first, second]))
    require_finite(outputs)
    quotients = _quotients((first - second).flatten(1), outputs, errors)
    best = int(quotients.argmin())
    value = math.nextafter(float(quotients[best]), math.inf)
    ahead, behind = (tuple(end[best].flatten().tolist()) for end in (first, second))
    return MonotonicityBound(value, Witness(ahead, behind, value))


def _quotients(between: Tensor, outputs: Tensor, errors: Tensor) -> Tensor:
    """``(M,)`` of ``<F(x) - F(y), x - y> / |x - y|^2``, rounded up."""
    ahead, behind = outputs.chunk(2)
    near, far = errors.chunk(2)
    products = (ahead - behind) * between
    relative = 4.0 * UNIT * (between.shape[1] + 16)
    size = between.abs()
    slack = (products.abs() * relative + (near + far) * size).sum(dim=1)
    squares = between.square().sum(dim=1)
    return (products.sum(dim=1) + slack * (1.0 + relative)) / squares + (
        relative * (products.abs().sum(dim=1) / squares)
    )
