"""One multiplier a layer, found on the way: LipSDP at the price of a product."""

from __future__ import annotations

from robustcert.lipschitz.interface import Problem
from robustcert.lipschitz.lipsdp.multipliers import begin, flat
from robustcert.lipschitz.upper.prepared import prepared_program, proved
from robustcert.results.bound import UpperBound
from robustcert.results.effort import Effort

NAME = "eclipse_fast"


def eclipse_fast(problem: Problem, _: Effort) -> UpperBound:
    """Upper bound with ``T_i = 2 lambda_max(N_i / 4)`` for all units of layer i.

    Units that never move have next to nothing. It is the best choice of a single
    multiplier a layer in front of what is known so far; it needs no search. On a torus
    the largest eigenvalue runs over all frequencies.

    Raises:
        UnsupportedLayerError: there is no graph, or a layer has no rule.
        UnsoundModelError: a weight is NaN or infinite.

    Reference:
        Xu, Sivaranjani. ECLipsE. NeurIPS 2024, section 4.2.
    """
    program = prepared_program(problem)
    return proved(problem, program, begin(program, flat), NAME)
