"""A proof by cases: each open unit passes or is cut, until every case is settled."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustcert.certify.milp.encoding import Encoding
from robustcert.certify.milp.highs import Rows, conflict, relaxed
from robustcert.certify.milp.safe_bound import safe_minimum
from robustcert.lipschitz.rounding import UNIT


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """Whether one gap stays above a number over a region.

    Attributes:
        encoding: of the gaps over the region.
        output: which gap.
        enough: what it is to stay above.
        fails: whether an input ``(n,)`` of the region seems to refute it.
        deadline: of :func:`time.monotonic`.
    """

    encoding: Encoding
    output: int
    enough: float
    fails: Callable[[Tensor], bool]
    deadline: float


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """Whether it was proved; if not, perhaps an input ``(n,)`` that seems to refute."""

    proved: bool
    suspect: Tensor | None = None


def answered(question: Question) -> Answer:
    """Settle the question case by case, the latest case first.

    Each case is a linear program; what counts is the safe bound made of its prices. An
    undecided case without an open unit ends the search: rounding decides there.
    """
    encoding = question.encoding
    cost = encoding.outputs.columns[:, question.output]
    shift = float(encoding.outputs.shift[question.output])
    lost = float(encoding.outputs.blur[question.output]) + 8.0 * UNIT * abs(shift)
    enough = question.enough - shift + 2.0 * lost + 8.0 * UNIT * abs(question.enough)
    cases = [Rows(encoding.rows, encoding.limits, encoding.low, encoding.high)]
    while cases:
        if time.monotonic() > question.deadline:
            return Answer(proved=False)
        case = cases.pop()
        found = relaxed(cost, case)
        if safe_minimum(cost, case, found.prices) > enough:
            continue
        if len(found.point) == 0 and _is_empty(case):
            continue
        point = _inputs(case, found.point, encoding.inputs)
        if question.fails(point):
            return Answer(proved=False, suspect=point)
        unit = _open_unit(encoding, case, found.point)
        if unit is None:
            return Answer(proved=False)
        cases += [_with(case, unit, 0.0), _with(case, unit, 1.0)]
    return Answer(proved=True)


def _is_empty(case: Rows) -> bool:
    return safe_minimum(torch.zeros_like(case.low), case, conflict(case)) > 0.0


def _inputs(case: Rows, point: Tensor, inputs: int) -> Tensor:
    """The solver's input, brought back into the region."""
    low, high = case.low[:inputs], case.high[:inputs]
    return (point[:inputs] if len(point) else low / 2.0 + high / 2.0).clamp(low, high)


def _open_unit(encoding: Encoding, case: Rows, point: Tensor) -> int | None:
    """Position of the binary that is furthest from 0 and 1, if one is still open."""
    binaries = encoding.binaries
    is_open = case.low[binaries] < case.high[binaries]
    if not bool(is_open.any()):
        return None
    worth = case.high[binaries - 1]
    if len(point):
        share = point[binaries].clamp(0.0, 1.0)
        worth = worth * (1e-9 + share.minimum(1.0 - share))
    return int(binaries[worth.where(is_open, -torch.inf).argmax()])


def _with(case: Rows, unit: int, value: float) -> Rows:
    low, high = case.low.clone(), case.high.clone()
    low[unit], high[unit] = value, value
    return replace(case, low=low, high=high)
