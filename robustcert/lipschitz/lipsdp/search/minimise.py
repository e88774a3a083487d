"""The best multipliers of a program within a time, ready for an independent check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from robustcert.lipschitz.lipsdp.multipliers import balanced, flat, given, scaled
from robustcert.lipschitz.lipsdp.program import Program
from robustcert.lipschitz.lipsdp.propagate import (
    Choice,
    chosen_covariance,
)
from robustcert.lipschitz.lipsdp.search.first_order import first_order
from robustcert.lipschitz.lipsdp.search.iterate import (
    Deadline,
    Heard,
    Iterate,
    true_bound,
)
from robustcert.lipschitz.lipsdp.search.reach import is_constant, live_units
from robustcert.lipschitz.lipsdp.search.second_order import (
    has_second_order,
    second_order,
)
from robustcert.lipschitz.lipsdp.search.work import newton_work

FACTORS = (1.25, 1.5, 1.8)
"""Tried for balanced multipliers; deep nets want small ones, chains large ones.

Newton begins at the last, which has room on all sides: in cifar_resnet2b it takes 38
steps from there, and 91 from the lowest of the three.
"""
RESERVE = 1e-7
"""Least eigenvalue of ``T^-1/2 (T - N/4) T^-1/2`` that is handed on."""
_SPEED = 5e9  # multiplications with additions a second of a slow core
_NEWTON_STEPS = 20.0  # that come within a percent of the optimum
_DEAD = 1e-14  # of the largest multiplier: for units that hear nothing


def minimised(
    program: Program,
    seconds: float,
    heard: Heard,
    start: Sequence[Tensor] | None = None,
) -> Iterate:
    """LipSDP's optimum, or the best bound that the time allows.

    Args:
        program: any.
        seconds: of wall-clock time, kept to within about one step; infinity for as
            long as there is progress.
        heard: hears each better point.
        start: feasible multipliers to begin with; some are chosen where it is ``None``.

    Returns:
        Multipliers with a reserve of :data:`RESERVE` to the boundary of what is
        feasible, for checks in floating point, and their value. A net that is constant
        has value 0 with any multipliers.
    """
    deadline = Deadline.after(seconds)
    best = _started(program, start)
    heard(best)
    if not sum(program.units) or is_constant(program):
        return best
    if _newton_in_time(program, seconds):
        roomy = best if start is not None else _roomy(program, best)
        found = second_order(program, roomy, deadline, _below(best, heard))
        best = min(found, best, key=lambda iterate: iterate.value)
    best = reserved(program, best)
    if best.gap is not None or deadline.passed:
        return best
    further = first_order(program, best, deadline, heard)
    return reserved(program, further)


def reserved(program: Program, iterate: Iterate) -> Iterate:
    """The iterate with multipliers that keep :data:`RESERVE` to the boundary.

    Where a stage has less, all its multipliers are raised by one factor s. Its
    covariance then grows by at most ``s^2``, so the bound hardly changes.
    """

    def choose(stage: int, inputs: Tensor) -> Tensor:
        return _lifted(iterate.multipliers[stage], inputs)

    lifted = _evaluated(program, choose)
    if lifted is None:
        return iterate
    gap = iterate.gap
    if gap is not None and lifted.value > 0.0:
        gap = max(0.0, 1.0 - (1.0 - gap) * iterate.value / lifted.value)
    return replace(lifted, gap=gap, steps=iterate.steps)


def _lifted(multipliers: Tensor, inputs: Tensor) -> Tensor:
    roots = multipliers.rsqrt()
    balanced = 0.25 * inputs * roots[:, None] * roots
    eye = torch.eye(len(multipliers), dtype=inputs.dtype, device=inputs.device)
    _, info = torch.linalg.cholesky_ex((1.0 - RESERVE) * eye - balanced)
    if not bool((info > 0).any()):
        return multipliers
    largest = torch.linalg.eigvalsh(balanced)[:, -1].max()
    factor = float(largest.clamp(min=1.0 - RESERVE)) / (1.0 - 2.0 * RESERVE)
    return multipliers * factor


def _newton_in_time(program: Program, seconds: float) -> bool:
    if not has_second_order(program):
        return False
    return newton_work(program) * _NEWTON_STEPS <= _SPEED * max(seconds, 0.0)


def _started(program: Program, start: Sequence[Tensor] | None) -> Iterate:
    """The best of some ways to choose multipliers from layer to layer."""
    if is_constant(program):
        ones = tuple(program.start.new_ones(units).real for units in program.units)
        return Iterate(ones, 0.0, 0.0, 0)
    choices = _choices(program) if start is None else [given(start)]
    tried = (_evaluated(program, choice) for choice in choices)
    found = [iterate for iterate in tried if iterate is not None]
    best = min(found, key=lambda iterate: iterate.value)
    if not sum(program.units):
        return replace(best, gap=0.0)
    return _awake(program, best)


def _roomy(program: Program, otherwise: Iterate) -> Iterate:
    """Where Newton begins: balanced multipliers far from the boundary."""
    found = _evaluated(program, balanced(program, FACTORS[-1]))
    return otherwise if found is None else _awake(program, found)


def _below(best: Iterate, heard: Heard) -> Heard:
    """Hands on what is better than ``best``."""
    return lambda iterate: heard(iterate) if iterate.value < best.value else None


def _choices(program: Program) -> list[Choice]:
    if any(stage.unfolding is not None for stage in program.stages):
        return [scaled, flat]
    return [scaled, *(balanced(program, factor) for factor in FACTORS)]


def _awake(program: Program, iterate: Iterate) -> Iterate:
    """Units that hear nothing get next to nothing: what they add is not there."""
    whole = torch.cat(iterate.multipliers)
    quieted = torch.where(live_units(program), whole, _DEAD * whole.max())
    return replace(iterate, multipliers=torch.split(quieted, list(program.units)))


def _evaluated(program: Program, choose: Choice) -> Iterate | None:
    """The multipliers that ``choose`` picks on the way, and their bound."""
    picked: list[Tensor] = []

    def remembered(stage: int, inputs: Tensor) -> Tensor:
        picked.append(choose(stage, inputs))
        return picked[-1]

    covariance = chosen_covariance(program, remembered)
    if covariance is None:
        return None
    largest = float(torch.linalg.eigvalsh(covariance)[-1])
    return Iterate(tuple(picked), true_bound(program, largest), None, 0)
