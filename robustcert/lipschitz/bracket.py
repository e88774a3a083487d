"""Both sides of one Lipschitz constant, by every method of an effort."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

from robustcert.errors import UnsupportedLayerError
from robustcert.lipschitz.interface import Heard, LiveBound, Problem
from robustcert.lipschitz.registry import (
    EFFORTS,
    LOWER_METHODS,
    UPPER_METHODS,
    UPPER_SEARCHES,
)
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
        listener: hears the bracket so far after each method, and of a search's every
            better bound.

    Raises:
        UnsoundModelError: a weight or an output is NaN or infinite.
    """
    bracket = Bracket(problem.norm)
    names = EFFORTS[effort]
    for done, name in enumerate(names):
        now = Progress(STAGE, done, len(names), note(bracket))
        listener(now)
        hear = partial(_pass_on, listener, now, bracket, name)
        bracket = _with_method(bracket, name, problem, effort, hear)
    listener(Progress(STAGE, len(names), len(names), note(bracket)))
    return bracket


def note(bracket: Bracket) -> str:
    """One line such as ``31.1 <= L <= 445.8``; ``?`` where a side is open."""
    lower = "?" if bracket.lower is None else f"{bracket.lower.value:.4g}"
    upper = "?" if bracket.upper is None else f"{bracket.upper.value:.4g}"
    return f"{lower} <= L <= {upper}"


def _pass_on(
    listener: Listener, now: Progress, bracket: Bracket, name: str, live: LiveBound
) -> None:
    """The bracket with the bound a search has just passed."""
    upper = UpperBound(live.value, bracket.norm, name)
    with_live = replace(bracket, uppers=(*bracket.uppers, upper))
    gap = "" if live.gap is None else f", at most {live.gap:.1%} above its optimum"
    listener(replace(now, note=f"{note(with_live)} ({name}{gap})"))


def _with_method(
    bracket: Bracket, name: str, problem: Problem, effort: Effort, heard: Heard
) -> Bracket:
    start = time.perf_counter()
    try:
        bound = _bound(name, problem, effort, heard)
    except UnsupportedLayerError as refusal:
        refused = RefusedBound(name, refusal.layer, refusal.reason)
        return replace(bracket, refused=(*bracket.refused, refused))
    return _with_bound(bracket, replace(bound, seconds=time.perf_counter() - start))


def _bound(
    name: str, problem: Problem, effort: Effort, heard: Heard
) -> LowerBound | UpperBound:
    if name in UPPER_SEARCHES:
        return UPPER_SEARCHES[name](problem, effort, heard)
    method = LOWER_METHODS.get(name) or UPPER_METHODS[name]
    return method(problem, effort)


def _with_bound(bracket: Bracket, bound: LowerBound | UpperBound) -> Bracket:
    if isinstance(bound, LowerBound):
        return replace(bracket, lowers=(*bracket.lowers, bound))
    return replace(bracket, uppers=(*bracket.uppers, bound))
