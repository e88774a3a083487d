"""Both sides of one Lipschitz constant, by every method of an effort."""

from __future__ import annotations

import time
from dataclasses import replace

from robustcert.errors import UnsupportedLayerError
from robustcert.lipschitz.interface import Problem
from robustcert.lipschitz.registry import EFFORTS, LOWER_METHODS, UPPER_METHODS
from robustcert.results.bound import Bracket, LowerBound, RefusedBound, UpperBound
from robustcert.results.effort import Effort
from robustcert.results.progress import Listener, Progress, unheard

STAGE = "lipschitz"


def measure(problem: Problem, effort: Effort, listener: Listener = unheard) -> Bracket:
    """The bracket that all methods of ``effort`` give together.

    A method without a rule for a layer is listed as refused, by name and reason.

    Args:
        problem: the map, the norm, where witnesses lie, the seed.
        effort: which methods run, and how long they search.
        listener: hears the bracket so far after each method.

    Raises:
        UnsoundModelError: a weight or an output is NaN or infinite.
    """
    bracket = Bracket(problem.norm)
    names = EFFORTS[effort]
    for done, name in enumerate(names):
        listener(Progress(STAGE, done, len(names), note(bracket)))
        bracket = _with_method(bracket, name, problem, effort)
    listener(Progress(STAGE, len(names), len(names), note(bracket)))
    return bracket


def note(bracket: Bracket) -> str:
    """One line such as ``31.1 <= L <= 445.8``; ``?`` where a side is open."""
    lower = "?" if bracket.lower is None else f"{bracket.lower.value:.4g}"
    upper = "?" if bracket.upper is None else f"{bracket.upper.value:.4g}"
    return f"{lower} <= L <= {upper}"


def _with_method(
    bracket: Bracket, name: str, problem: Problem, effort: Effort
) -> Bracket:
    start = time.perf_counter()
    method = LOWER_METHODS.get(name) or UPPER_METHODS[name]
    try:
        bound = method(problem, effort)
    except UnsupportedLayerError as refusal:
        refused = RefusedBound(name, refusal.layer, refusal.reason)
        return replace(bracket, refused=(*bracket.refused, refused))
    return _with_bound(bracket, replace(bound, seconds=time.perf_counter() - start))


def _with_bound(bracket: Bracket, bound: LowerBound | UpperBound) -> Bracket:
    if isinstance(bound, LowerBound):
        return replace(bracket, lowers=(*bracket.lowers, bound))
    return replace(bracket, uppers=(*bracket.uppers, bound))
