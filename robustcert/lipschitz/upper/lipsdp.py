"""LipSDP: the best multipliers, found by Newton steps under a time budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from robustcert.errors import UnsupportedLayerError
from robustcert.lipschitz.interface import Heard, LiveBound, Problem
from robustcert.lipschitz.lipsdp.compile import spread_out
from robustcert.lipschitz.lipsdp.program import Program
from robustcert.lipschitz.lipsdp.search.iterate import Iterate
from robustcert.lipschitz.lipsdp.search.minimise import minimised
from robustcert.lipschitz.upper.prepared import (
    prepared_program,
    proved,
    refined_program,
)
from robustcert.results.bound import UpperBound
from robustcert.results.effort import Effort

LIPSDP = "lipsdp"
LIPSDP_NEURON = "lipsdp_neuron"
_SECONDS = {Effort.FAST: 2.0, Effort.TIGHT: 20.0, Effort.MAX: 60.0}
_NEURON_SECONDS = {Effort.FAST: 5.0, Effort.TIGHT: 60.0, Effort.MAX: 150.0}


def lipsdp(problem: Problem, effort: Effort, heard: Heard) -> UpperBound:
    """Upper bound by LipSDP, with one multiplier a channel or, in dense nets, a unit.

    The search stops at its time or at a gap of 1e-5. Whatever multipliers it ends
    with, the bound is what the independent checker proves from them.

    Raises:
        UnsupportedLayerError: there is no graph, or a layer has no rule.
        UnsoundModelError: a weight is NaN or infinite.

    Reference:
        Fazlyab et al. Efficient and Accurate Estimation of Lipschitz Constants for Deep
        Neural Networks. NeurIPS 2019, Theorem 2 (LipSDP-Neuron).
    """
    program = prepared_program(problem)
    found = _searched(problem, program, _SECONDS[effort], heard)
    bound = proved(problem, program, found.multipliers, LIPSDP)
    return replace(bound, gap=found.gap)


def lipsdp_neuron(problem: Problem, effort: Effort, heard: Heard) -> UpperBound:
    """The same with one multiplier a unit behind the first convolutions.

    From the first layer that is small enough, the ellipsoid is taken from frequencies
    to positions, and each position of a channel gets a multiplier of its own. It
    begins at the multipliers of :func:`lipsdp`, hence is no looser.

    Raises:
        UnsupportedLayerError: there is no graph, a layer has no rule, or every unit
            had its own multiplier already.
        UnsoundModelError: a weight is NaN or infinite.
    """
    finer = refined_program(problem)
    if finer is None:
        raise UnsupportedLayerError(
            "model", "lipsdp has a multiplier a unit already, or there are too many"
        )
    program = prepared_program(problem)
    coarse = _searched(problem, program, _SECONDS[effort], heard)
    start = spread_out(coarse.multipliers, program, finer)
    found = minimised(finer, _NEURON_SECONDS[effort], _passing(heard), start)
    bound = proved(problem, finer, found.multipliers, LIPSDP_NEURON)
    return replace(bound, gap=found.gap)


def _searched(
    problem: Problem, program: Program, seconds: float, heard: Heard
) -> Iterate:
    """What the search of :func:`lipsdp` found, made once a problem."""
    search = partial(minimised, program, seconds, _passing(heard))
    return problem.memo.once("lipsdp", search)


def _passing(heard: Heard) -> Callable[[Iterate], None]:
    return lambda iterate: heard(LiveBound(iterate.value, iterate.gap))
