"""Which unit of a piecewise linear net to flip so that its Jacobian grows.

In a linear region the Jacobian is a product of weights and of the slopes of the pieces
the units are on. For unit vectors u and v, moving unit j to another piece changes
``u^T J v`` by its tangent times its cotangent times the change of slope: exact for one
flip, and a lower estimate of the change of the norm, which is the maximum over u and v.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.execute import values
from robustcert.graph.layers import Elementwise, LayerGraph
from robustcert.graph.piecewise import pieces_of
from robustcert.lipschitz.interface import Map, Problem
from robustcert.lipschitz.lower.jacobian import (
    POWER_STEP_COST,
    Slopes,
    inset,
    power_step,
    pushed_forward,
)
from robustcert.results.norm import Norm
from robustcert.tensors import rows_like, steepest_unit

FLIP_COST = 4 + 2 * POWER_STEP_COST
"""Forward passes that trying one flip at one point is worth."""

_OVERSHOOT = 1.1  # how far beyond its kink a unit is sent, in distances to it
_MARGIN = 1e-4  # and at least so far, in units of its argument
_GAIN = 1e-6  # relative; a smaller gain ends the search


@dataclass(frozen=True, slots=True, eq=False)
class _Units:
    """What flipping each unit would gain, and how far away its kink is; ``(N, U)``.

    ``sources`` are the layers that the units read, in the order of the columns.
    """

    gains: Tensor
    distances: Tensor
    sources: tuple[int, ...]


def require_pieces(graph: LayerGraph) -> None:
    """Refuse a net with a curved activation, whose pattern says nothing.

    Raises:
        UnsupportedLayerError: names the first layer that is not piecewise linear.
    """
    for layer in graph.layers:
        if isinstance(layer, Elementwise) and not layer.activation.piecewise_linear:
            kind = layer.activation.kind.value
            raise UnsupportedLayerError(layer.name, f"{kind} has no linear pieces")


def flipped(problem: Problem, start: Slopes, flips: int, rounds: int) -> Slopes:
    """Points of the box that one flip after the other has made steeper.

    In each round, at each point, the units that gain most are sent just across their
    kinks, one at a time, straight along their gradient; the steepest of these points
    is taken, as the net is there, if it is steeper.

    Args:
        problem: with a graph that :func:`require_pieces` lets pass.
        start: points in the box with their directions and norms.
        flips: tried at each point in each round.
        rounds: at most; the search ends where nothing gains.

    Raises:
        UnsoundModelError: an output is NaN or infinite.
    """
    if problem.graph is None or not _sources(problem.graph):
        return start
    graph = problem.graph.to(start.points.dtype, start.points.device)
    function = problem.working_map()
    best = start
    for _ in range(rounds):
        tried = _tried(problem, graph, function, best, flips)
        after = _best_of_each(tried, len(best.norms))
        better = after.norms > best.norms * (1.0 + _GAIN)
        if not bool(better.any()):
            break
        rows = rows_like(better, best.points)
        best = Slopes(
            torch.where(rows, after.points, best.points),
            torch.where(rows, after.directions.to(best.directions), best.directions),
            torch.where(better, after.norms, best.norms),
        )
    return best


def _sources(graph: LayerGraph) -> tuple[int, ...]:
    """The layers that activations read."""
    return tuple(
        layer.inputs[0] for layer in graph.layers if isinstance(layer, Elementwise)
    )


def _tried(
    problem: Problem, graph: LayerGraph, function: Map, best: Slopes, flips: int
) -> Slopes:
    """Every point after each of its most promising flips, ``(N * flips, ...)``."""
    units = _units(graph, best, problem.norm)
    chosen = units.gains.topk(min(flips, units.gains.shape[1]), dim=1).indices
    count = chosen.shape[1]
    points = best.points.repeat_interleave(count, dim=0)
    gradients = _argument_gradients(graph, points, units.sources, chosen.reshape(-1))
    distances = units.distances.gather(1, chosen).reshape(-1)
    sent = distances * _OVERSHOOT + _MARGIN * distances.sign()
    squares = gradients.flatten(1).square().sum(dim=1)
    lengths = torch.where(squares > 0.0, sent / squares, torch.zeros_like(sent))
    moved = inset(points + rows_like(lengths, points) * gradients, problem.box)
    along = best.directions.repeat_interleave(count, dim=0)
    there = Slopes(moved, along, torch.zeros(len(moved), dtype=torch.float64))
    return power_step(problem, function, power_step(problem, function, there))


def _best_of_each(tried: Slopes, count: int) -> Slopes:
    """The steepest trial of each of ``count`` points."""
    each = len(tried.norms) // count
    best = tried.norms.reshape(count, each).argmax(dim=1)
    rows = torch.arange(count, device=best.device) * each + best
    return Slopes(tried.points[rows], tried.directions[rows], tried.norms[rows])


def _units(graph: LayerGraph, slopes: Slopes, norm: Norm) -> _Units:
    along = slopes.directions.to(slopes.points)
    acting = [
        (position, layer)
        for position, layer in enumerate(graph.layers)
        if isinstance(layer, Elementwise)
    ]
    sources = _sources(graph)
    with torch.enable_grad():
        leaf = slopes.points.detach().requires_grad_()
        found = values(graph, leaf)
        tangents = pushed_forward(
            lambda points: _chosen_values(graph, points, sources), leaf, along
        ).detach()
        pull = _pull(tangents[:, -graph.outputs :], norm)
        cotangents = torch.autograd.grad(
            (found[-1] * pull).sum(),
            [found[position] for position, _ in acting],
            materialize_grads=True,
        )
    sizes = [layer.size for _, layer in acting]
    parts = [
        _flip_gains(layer.activation, found[source], tangent, cotangent)
        for (_, layer), source, tangent, cotangent in zip(
            acting,
            sources,
            torch.split(tangents[:, : -graph.outputs], sizes, dim=1),
            cotangents,
            strict=True,
        )
    ]
    gains, distances = zip(*parts, strict=True)
    return _Units(torch.cat(gains, dim=1), torch.cat(distances, dim=1), sources)


def _chosen_values(
    graph: LayerGraph, points: Tensor, sources: tuple[int, ...]
) -> Tensor:
    """The values of the layers at ``sources``, then the logits, side by side."""
    found = values(graph, points)
    read = [found[source].flatten(1) for source in sources]
    return torch.cat([*read, found[-1]], dim=1)


def _pull(moved: Tensor, norm: Norm) -> Tensor:
    """Unit vectors of the dual norm on which ``moved`` attains its norm."""
    if norm is not Norm.LINF:
        return steepest_unit(moved, norm)
    largest = moved.abs().argmax(dim=1, keepdim=True)
    sign = moved.gather(1, largest).sign()
    return torch.zeros_like(moved).scatter(1, largest, sign)


def _flip_gains(
    activation: Activation, argument: Tensor, tangent: Tensor, cotangent: Tensor
) -> tuple[Tensor, Tensor]:
    """Gains of crossing the nearest kink, and signed distances to it, ``(N, m)``."""
    flat = argument.detach().flatten(1)
    kinks, slopes = (
        torch.tensor(numbers, dtype=flat.dtype, device=flat.device)
        for numbers in _pieces(activation)
    )
    nearest = (flat[..., None] - kinks).abs().argmin(dim=-1)
    distance = kinks[nearest] - flat
    rise = slopes[nearest + 1] - slopes[nearest]
    change = torch.where(distance < 0.0, -rise, rise)
    gain = tangent * cotangent.flatten(1) * change
    reachable = torch.isfinite(distance)  # a clamp may lack an end
    return torch.where(reachable, gain, -torch.inf), distance.where(reachable, 0.0)


def _pieces(activation: Activation) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Kinks in order, and the slopes before, between and after them."""
    match activation.kind:
        case ActivationKind.LEAKY_RELU:
            return (0.0,), (activation.parameters[0], 1.0)
        case ActivationKind.CLAMP:
            return activation.parameters, (0.0, 1.0, 0.0)
        case ActivationKind.HARDSIGMOID:
            return (-3.0, 3.0), (0.0, 1.0 / 6.0, 0.0)
        case ActivationKind.SPLINE:
            pieces = pieces_of(activation.parameters)
            return pieces.knots, pieces.slopes
        case _:
            return (0.0,), (0.0, 1.0)


def _argument_gradients(
    graph: LayerGraph, points: Tensor, sources: tuple[int, ...], units: Tensor
) -> Tensor:
    """Gradient of one unit's argument by each point, ``(M, *shape)``."""
    with torch.enable_grad():
        leaf = points.detach().requires_grad_()
        found = values(graph, leaf)
        arguments = torch.cat([found[source].flatten(1) for source in sources], dim=1)
        own = arguments.gather(1, units[:, None]).sum()
        (gradients,) = torch.autograd.grad(own, leaf)
    return gradients.nan_to_num(0.0, 0.0, 0.0)
