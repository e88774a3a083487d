"""Limited-memory BFGS for a function that has no value everywhere.

Reference:
    Nocedal, Wright. Numerical Optimization. 2006, algorithm 7.4 and section 3.1.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.lipschitz.lipsdp.search.iterate import Deadline

MEMORY = 40
"""Pairs of steps and changes of gradient that are kept."""
_FIRST = 0.3  # largest entry of the first step
_LONGEST = 1.5  # largest entry of any step
_ARMIJO = 1e-4
_SHORTER = 0.4
_TRIALS = 14
_CURVED = 1e-14
_PROGRESS = 1e-8  # a step that falls by less ends the descent


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """Where the function has a value: place ``(n,)``, value and gradient ``(n,)``."""

    place: Tensor
    height: float
    gradient: Tensor


Function = Callable[[Tensor], Point | None]


def differentiated(objective: Callable[[Tensor], Tensor | None]) -> Function:
    """A differentiable number, ``None`` outside of its domain, with its gradient."""

    def function(place: Tensor) -> Point | None:
        with torch.enable_grad():
            leaf = place.detach().requires_grad_()
            height = objective(leaf)
            if height is None or not bool(torch.isfinite(height)):
                return None
            (gradient,) = torch.autograd.grad(height, leaf)
        if not bool(torch.isfinite(gradient).all()):
            return None
        return Point(leaf.detach(), float(height.detach()), gradient)

    return function


def descended(
    function: Function, start: Tensor, deadline: Deadline, steps: int
) -> Point | None:
    """The lowest point found; ``None`` without a value at the start, or without time.

    Args:
        function: a point, or ``None`` where it has no value.
        start: ``(n,)``.
        deadline: asked before each evaluation.
        steps: at most so many.
    """
    if deadline.passed:
        return None
    point = function(start)
    memory: deque[tuple[Tensor, Tensor]] = deque(maxlen=MEMORY)
    for _ in range(steps):
        if point is None:
            return None
        ahead = _searched(function, point, _direction(point.gradient, memory), deadline)
        if ahead is None and not memory:
            return point
        if ahead is None:
            memory.clear()
            continue
        step, change = ahead.place - point.place, ahead.gradient - point.gradient
        if float(step @ change) > _CURVED * float(step @ step):
            memory.append((step, change))
        fallen, point = point.height - ahead.height, ahead
        if fallen < _PROGRESS:
            return point
    return point


def _direction(gradient: Tensor, memory: deque[tuple[Tensor, Tensor]]) -> Tensor:
    """The two-loop recursion; along the gradient at first."""
    if not memory:
        return -gradient * (_FIRST / gradient.abs().max().clamp(min=1e-12))
    rest = gradient.clone()
    shares = []
    for step, change in reversed(memory):
        shares.append(step @ rest / (step @ change))
        rest -= shares[-1] * change
    step, change = memory[-1]
    rest *= (step @ change) / (change @ change)
    for (step, change), share in zip(memory, reversed(shares), strict=True):
        rest += step * (share - change @ rest / (step @ change))
    return -rest


def _searched(
    function: Function, point: Point, direction: Tensor, deadline: Deadline
) -> Point | None:
    """The first point on the way that falls enough, the length shrinking."""
    slope = float(point.gradient @ direction)
    longest = float(direction.abs().max())
    if not (slope < 0.0 and torch.isfinite(direction).all()):
        return None
    length = min(1.0, _LONGEST / longest)
    for _ in range(_TRIALS):
        if deadline.passed:
            return None
        ahead = function(point.place + length * direction)
        if (
            ahead is not None
            and ahead.height <= point.height + _ARMIJO * length * slope
        ):
            return ahead
        length *= _SHORTER
    return None
