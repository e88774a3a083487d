"""LipSDP by Newton's method: a path of barriers, each centred in a step or two.

The multipliers are taken as ``lambda = 1 / (2 T)``, in which the squared bound is
convex. Newton steps on the diagonally scaled Hessian are halved until the point is
inside and the barrier falls; near the path t grows. The path ends within a known
relative distance of the optimum.

References:
    Fazlyab et al. Efficient and Accurate Estimation of Lipschitz Constants for Deep
        Neural Networks. NeurIPS 2019. (The semidefinite program.)
    Boyd, Vandenberghe. Convex Optimization. 2004, section 11.3. (The barrier method.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.lipschitz.lipsdp.program import Program
from robustcert.lipschitz.lipsdp.search.barrier import Barrier, State, lowest_sigma
from robustcert.lipschitz.lipsdp.search.barrier_joint import Derivatives, Push
from robustcert.lipschitz.lipsdp.search.iterate import Deadline, Heard, Iterate
from robustcert.lipschitz.lipsdp.search.reach import live_units, multiplier_ceiling
from robustcert.lipschitz.lipsdp.search.record import Record
from robustcert.lipschitz.lipsdp.search.unrolled import unrolled

TOLERANCE = 1e-5
"""Relative distance of the bound to its optimum at which the path ends."""
_WEAK = 1e-3  # of the barrier on K, enough where many outputs feel it
_WEAK_DENSE = 1e-2  # fainter ones take a small net five times the steps
_STRONG = 1.0  # where few do, and the optimum is on K's boundary
_STRONG_TORUS = 0.1
_FULL = Push(1.0, 1.0)  # no term too faint for Newton: it always gets to the end
_FEW = 2  # outputs
_GROWTH = 8.0  # of t
_CENTRED = 1.0  # squared Newton decrement at which t grows
_FIRST_GAP = 0.1  # relative, at the path's first barrier
_SHRINK = 0.05  # no multiplier falls below this part of itself in one step
_HALVINGS = 40
_FLAT = 1e-6  # curvature of the barrier in log lambda, below which a unit is idle
_STEPS = 200
_GOOD = 1e-3  # proved distance with which a path is not walked again
_FALL = 1e-4  # of what the tangent promises: the least that is accepted
_GOOD_FALL = 0.25
_UNSEEN = 1e-8  # squared decrement, below which the fall is lost in rounding


def has_second_order(program: Program) -> bool:
    """Whether the program has units and is not taken apart into positions."""
    return sum(program.units) > 0 and all(s.unfolding is None for s in program.stages)


def second_order(
    program: Program, start: Iterate, deadline: Deadline, heard: Heard
) -> Iterate:
    """Newton's method from this point.

    Args:
        program: one that :func:`has_second_order`.
        start: feasible up to rounding.
        deadline: asked before each step and each trial point.
        heard: hears each better point.

    Returns:
        The best point, at worst the start; its gap is proved by convexity, up to
        rounding.
    """
    record = Record(program, heard, start)
    barrier = Barrier(unrolled(program), _weak(program))
    outputs = barrier.maps.dense.outputs.shape[1]
    pushes = [_weak(program)] if outputs > _FEW else []
    for push in (*pushes, _strong(program), _FULL):
        pushed = Barrier(barrier.maps, push)
        state = pushed.at(0.5 / torch.cat(start.multipliers))
        if state is None:
            break
        path = _Path(pushed, record, state)
        for _ in range(_STEPS):
            if deadline.passed or not path.step(deadline):
                break
        if deadline.passed or record.within(_GOOD):
            break
    return record.best


def _weak(program: Program) -> Push:
    groups = _groups(program)
    return Push(0.0, _WEAK_DENSE) if groups == 0 else Push(_WEAK / groups, 0.0)


def _strong(program: Program) -> Push:
    return Push(_STRONG_TORUS / max(1, _groups(program)), _STRONG)


def _groups(program: Program) -> int:
    """Coarse frequencies, 0 without a torus."""
    return sum(s.spread.shape[1] for s in program.stages if s.leaves_torus)


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """A point inside, and the barrier there."""

    state: State
    height: float
    length: float


@dataclass(frozen=True, slots=True, eq=False)
class _Newton:
    """A Newton step and its squared decrement."""

    direction: Tensor
    decrement: float


class _Path:
    """The current point and the current barrier."""

    def __init__(self, barrier: Barrier, record: Record, state: State) -> None:
        self.barrier, self.record = barrier, record
        self.live = live_units(record.program)
        self.ceiling = multiplier_ceiling(record.program)
        self.state, self.steps, self.decrement = state, 0, math.inf
        largest = max(float(state.values[-1]), 1e-300)
        self.sharpness = len(state.values) / (_FIRST_GAP * largest)
        self._hear(state)

    def step(self, deadline: Deadline) -> bool:
        """One Newton step; ``False`` at the path's end."""
        self.steps += 1
        sigma = lowest_sigma(self.state.values, self.sharpness)
        derivatives = self.barrier.derivatives(self.state, sigma)
        self._prove(derivatives.gradient, sigma)
        newton = self._newton(derivatives, sigma)
        if newton is None:
            return False
        found = self._search(newton, deadline)
        if found is not None:
            self.state = found.state
        if found is None or newton.decrement < _CENTRED:
            return self._sharpened(sigma, newton.decrement)
        return True

    def _sharpened(self, sigma: float, decrement: float) -> bool:
        """Raises t; ``False`` where the last barrier is centred as well as can be."""
        last = self.state.weight / (TOLERANCE * sigma)
        if self.sharpness < 0.99 * last:
            self.sharpness = min(_GROWTH * self.sharpness, last)
            return True
        stalled = not decrement < self.decrement
        self.decrement = decrement
        return not stalled and not self.record.within(TOLERANCE)

    def _newton(self, derivatives: Derivatives, sigma: float) -> _Newton | None:
        """The step in lambda, sigma following; ``None`` where it cannot be solved."""
        live, flat = self.live, _FLAT * min(1.0, self.decrement)
        gradient, mixed = derivatives.gradient[live], derivatives.mixed[live]
        hessian = derivatives.hessian
        if not bool(live.all()):
            hessian = hessian[live][:, live]
        own = (1.0 / (sigma - self.state.values)).square().sum()
        hessian = hessian.addr(mixed, mixed / own, alpha=-1.0)
        hessian.diagonal().add_(flat / self.state.multipliers[live].square())
        roots = hessian.diagonal().rsqrt()
        root = _root(hessian.mul_(roots).mul_(roots[:, None]))
        if root is None:
            return None
        downhill = gradient * roots
        solved = torch.cholesky_solve(downhill[:, None], root)[:, 0]
        direction = torch.zeros_like(derivatives.gradient)
        direction[live] = -roots * solved
        return _Newton(direction, float(downhill @ solved))

    def _search(self, newton: _Newton, deadline: Deadline) -> _Trial | None:
        """The length, halved from 1, where the barrier is as low as it gets."""
        height = self._height(self.state)
        found: _Trial | None = None
        length = 1.0
        for _ in range(_HALVINGS):
            trial = self._trial(newton.direction, length)
            if trial is not None:
                if found is not None and trial.height >= found.height:
                    break
                if newton.decrement < _UNSEEN:
                    return trial
                fall = (height - trial.height) / (length * newton.decrement)
                if fall > _FALL:
                    found = trial
                if fall > _GOOD_FALL:
                    break
            if deadline.passed:
                break
            length *= 0.5
        return found

    def _trial(self, direction: Tensor, length: float) -> _Trial | None:
        multipliers = self.state.multipliers + length * direction
        if bool((multipliers <= _SHRINK * self.state.multipliers).any()):
            return None
        state = self.barrier.at(multipliers)
        if state is None:
            return None
        self._hear(state)
        return _Trial(state, self._height(state), length)

    def _height(self, state: State) -> float:
        """The barrier at this point."""
        sigma = lowest_sigma(state.values, self.sharpness)
        logdet = float((sigma - state.values).log().sum())
        return self.sharpness * sigma - logdet + state.offset

    def _prove(self, gradient: Tensor, sigma: float) -> None:
        """Convexity: the optimum is above the tangent's minimum in a box around it.

        At the centre the gradient is 0, and this is ``sigma - weight / t``.
        """
        multipliers = self.state.multipliers
        room = torch.where(gradient > 0.0, multipliers, multipliers - self.ceiling)
        lost = float((gradient * room)[self.live].sum())
        self.record.prove(sigma - (self.state.weight + lost) / self.sharpness)

    def _hear(self, state: State) -> None:
        multipliers = 0.5 / state.multipliers
        self.record.hear(multipliers, float(state.values[-1]), self.steps)


def _root(matrix: Tensor) -> Tensor | None:
    """Cholesky factor of a matrix with unit diagonal, lifted where rounding asks."""
    for exponent in range(-13, 2):
        matrix.diagonal().add_(10.0**exponent)
        root, info = torch.linalg.cholesky_ex(matrix)
        if not bool(info > 0):
            found: Tensor = root
            return found
    return None
