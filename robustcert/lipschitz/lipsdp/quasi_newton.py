"""Descent with limited memory on a function that is not defined everywhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustcert.lipschitz.lipsdp.iterate import Deadline

Objective = Callable[[Tensor], Tensor | None]
"""A differentiable number at a point ``(n,)``; ``None`` outside of its domain."""

_MEMORY = 40
_STEPS = 500
_TRIALS = 16
_SHRINK = 0.4
_ENOUGH = 1e-4  # of the slope's promise (Armijo)
_FIRST = 0.3  # largest coordinate of the first step
_LONGEST = 1.5  # the same later
_STALLED = 1e-7  # least progress, over ten steps


@dataclass(frozen=True, slots=True, eq=False)
class _Point:
    place: Tensor
    value: float
    gradient: Tensor


@dataclass(slots=True, eq=False)
class _Memory:
    """Pairs of steps and changes of the gradient; the latest ones are last."""

    pairs: deque[tuple[Tensor, Tensor]] = field(
        default_factory=lambda: deque(maxlen=_MEMORY)
    )

    def direction(self, gradient: Tensor) -> Tensor:
        """Downhill, by the two-loop recursion."""
        ahead, shares = gradient.clone(), []
        for step, change in reversed(self.pairs):
            share = (step @ ahead) / (step @ change)
            shares.append(share)
            ahead = ahead - share * change
        if self.pairs:
            step, change = self.pairs[-1]
            ahead = ahead * ((step @ change) / (change @ change))
        for (step, change), share in zip(self.pairs, reversed(shares), strict=True):
            ahead = ahead + step * (share - (change @ ahead) / (step @ change))
        return -ahead


def descended(objective: Objective, start: Tensor, deadline: Deadline) -> Tensor:
    """The lowest point found from ``start``.

    Args:
        objective: defined at ``start``.
        start: ``(n,)``.
        deadline: asked before each step.

    Reference:
        Liu, Nocedal. On the limited memory BFGS method for large scale optimization.
        Mathematical Programming 1989.
    """
    point = _evaluated(objective, start)
    memory, past = _Memory(), deque([float("inf")], maxlen=10)
    for _ in range(_STEPS):
        if point is None or deadline.passed:
            break
        ahead = _searched(objective, point, memory)
        if ahead is None:
            if not memory.pairs:
                return point.place
            memory = _Memory()
            continue
        step, change = ahead.place - point.place, ahead.gradient - point.gradient
        if float(step @ change) > 1e-14 * float(step @ step):
            memory.pairs.append((step, change))
        point = ahead
        past.append(point.value)
        if len(past) == past.maxlen and past[0] - past[-1] < _STALLED:
            break
    return start if point is None else point.place


def _searched(objective: Objective, point: _Point, memory: _Memory) -> _Point | None:
    """The first point on the way down that keeps what the slope promises."""
    ahead = memory.direction(point.gradient)
    slope = float(ahead @ point.gradient)
    largest = float(ahead.abs().max())
    if not slope < 0.0 or largest == 0.0:
        return None
    limit = _LONGEST if memory.pairs else _FIRST
    length = min(1.0, limit / largest) if memory.pairs else limit / largest
    for _ in range(_TRIALS):
        found = _evaluated(objective, point.place + length * ahead)
        if found is not None and found.value <= point.value + _ENOUGH * length * slope:
            return found
        length *= _SHRINK
    return None


def _evaluated(objective: Objective, place: Tensor) -> _Point | None:
    with torch.enable_grad():
        leaf = place.detach().requires_grad_()
        value = objective(leaf)
        if value is None or not bool(torch.isfinite(value)):
            return None
        (gradient,) = torch.autograd.grad(value, leaf)
    if not bool(torch.isfinite(gradient).all()):
        return None
    return _Point(leaf.detach(), float(value.detach()), gradient)
