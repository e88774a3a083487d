"""From pairs of inputs to a lower bound: evaluated again in float64, rounded down."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.errors import UnsoundModelError
from robustcert.graph.execute import run
from robustcert.graph.layers import LayerGraph
from robustcert.lipschitz.interface import Problem
from robustcert.lipschitz.lower.forward_error import outputs_with_errors
from robustcert.lipschitz.rounding import UNIT
from robustcert.results.bound import LowerBound, Scope, Witness
from robustcert.results.threat_model import Box
from robustcert.tensors import clip_to_box, lp_norms

_BATCH = 256
_SEEN = 64.0  # times the rounding that float32 shows, scaled down to float64
_NOISE = 2048.0  # units in the last place granted to a model that runs in its own dtype


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pairs of inputs, ``(M, *shape)`` each."""

    first: Tensor
    second: Tensor


def joined(parts: list[Pairs]) -> Pairs:
    """All pairs in one batch."""
    return Pairs(
        torch.cat([part.first for part in parts]),
        torch.cat([part.second for part in parts]),
    )


def claim(problem: Problem, pairs: Pairs, method: str) -> LowerBound:
    """The best lower bound that the pairs prove after they are clipped to the box.

    With a graph, the map is evaluated in float64 and its rounding error taken off: the
    running worst-case bound, or :func:`_stated_errors` where that is smaller, as it is
    for deep nets, whose worst case drowns every signal. Without a graph, the model
    runs in its own dtype and 2048 units in the last place of the outputs are taken
    off; pairs a hair apart then prove nothing.

    The scope is the box where both ends lie in it, as pairs with a graph do.

    Raises:
        UnsoundModelError: an output is NaN or infinite.
    """
    inside = Pairs(
        clip_to_box(pairs.first.to("cpu", torch.float64), problem.box),
        clip_to_box(pairs.second.to("cpu", torch.float64), problem.box),
    )
    return claim_anywhere(problem, inside, method)


def claim_anywhere(problem: Problem, pairs: Pairs, method: str) -> LowerBound:
    """The best lower bound that the pairs prove, be they in the box or not.

    As :func:`claim`, but pairs stay where they are: the map is defined on all of R^n,
    and a pair that leaves the box proves a bound of global scope, no other.

    Raises:
        UnsoundModelError: an output is NaN or infinite.
    """
    first, second = _representable(problem, pairs)
    distances = lp_norms(first - second, problem.norm)
    apart = distances > 0.0
    first, second, distances = first[apart], second[apart], distances[apart]
    if len(first) == 0:
        return _nothing(problem, pairs.first[0], method)
    ratios = _proved_ratios(problem, first, second, distances)
    best = int(ratios.argmax())
    value = max(0.0, float(ratios[best]))
    witness = Witness(tuple(_flat(first[best])), tuple(_flat(second[best])), value)
    scope = _scope(problem.box, first[best], second[best])
    return LowerBound(value, problem.norm, method, witness, scope)


def _nothing(problem: Problem, point: Tensor, method: str) -> LowerBound:
    """The bound 0, which needs no pair."""
    flat = tuple(_flat(point.to("cpu", torch.float64)))
    scope = _scope(problem.box, point, point)
    return LowerBound(0.0, problem.norm, method, Witness(flat, flat, 0.0), scope)


def _scope(box: Box, first: Tensor, second: Tensor) -> Scope:
    """The narrowest scope that holds both ends."""
    ends = torch.stack([first, second]).to(torch.float64)
    inside = box.low <= float(ends.min()) and float(ends.max()) <= box.high
    return Scope.BOX if inside else Scope.GLOBAL


def require_finite(outputs: Tensor) -> None:
    """Raise unless the outputs are numbers.

    Raises:
        UnsoundModelError: an output is NaN or infinite.
    """
    if not bool(torch.isfinite(outputs).all()):
        raise UnsoundModelError("the model returns NaN or infinity inside the box")


def _representable(problem: Problem, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """The pairs as float64 numbers that the evaluation reads exactly."""
    dtype = torch.float64 if problem.graph is not None else problem.inputs.dtype
    first, second = (
        end.to("cpu", torch.float64).to(dtype).to(torch.float64)
        for end in (pairs.first, pairs.second)
    )
    return first, second


def _proved_ratios(
    problem: Problem, first: Tensor, second: Tensor, distances: Tensor
) -> Tensor:
    """``(M,)`` of ``(|f(x) - f(y)| - error) / |x - y|``, rounded down."""
    outputs, errors = evaluated(problem, torch.cat([first, second]))
    require_finite(outputs)
    ahead, behind = outputs.chunk(2)
    moved = lp_norms(ahead - behind, problem.norm)
    slack = sum(lp_norms(part, problem.norm) for part in errors.chunk(2))
    relative = 4.0 * UNIT * (problem.size + outputs[0].numel() + 16)
    return (
        (moved * (1.0 - relative) - slack * (1.0 + relative))
        / distances
        * (1.0 - relative)
    )


def evaluated(problem: Problem, points: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs and the error granted to them, ``(N, K)`` float64 on the CPU.

    Args:
        problem: its graph where there is one, else its function, is evaluated.
        points: ``(N, *shape)`` float64 that the model's dtype holds exactly.
    """
    parts = [_evaluated_batch(problem, batch) for batch in torch.split(points, _BATCH)]
    outputs, errors = zip(*parts, strict=True)
    return torch.cat(outputs), torch.cat(errors)


@torch.no_grad()
def _evaluated_batch(problem: Problem, points: Tensor) -> tuple[Tensor, Tensor]:
    if problem.graph is not None:
        graph = problem.graph.to(torch.float64)
        outputs, worst = outputs_with_errors(graph, points)
        return outputs, torch.minimum(worst, _stated_errors(graph, points, outputs))
    raw = problem.function(points.to(problem.inputs))
    unit = torch.finfo(raw.dtype).eps
    outputs = raw.to("cpu", torch.float64)
    largest = outputs.abs().amax(dim=1, keepdim=True)
    return outputs, (_NOISE * unit * largest).expand_as(outputs)


def _stated_errors(graph: LayerGraph, points: Tensor, outputs: Tensor) -> Tensor:
    """A stated margin ``(N, K)`` for the rounding of float64 outputs; no proof.

    Rounding errors shrink with the unit roundoff, so what float32 shows at the same
    points tells what float64 does; 64 times that is granted, and at least 2048 units
    in the last place. Where large numbers cancel, float32 shows it.
    """
    single = run(graph.to(torch.float32), points.to(torch.float32)).to(torch.float64)
    shrunk = _SEEN * torch.finfo(torch.float64).eps / torch.finfo(torch.float32).eps
    seen = shrunk * (outputs - single).abs().nan_to_num(nan=torch.inf)
    units = _NOISE * torch.finfo(torch.float64).eps * outputs.abs()
    return torch.maximum(seen, units).amax(dim=1, keepdim=True).expand_as(outputs)


def _flat(point: Tensor) -> list[float]:
    values: list[float] = point.flatten().tolist()
    return values
