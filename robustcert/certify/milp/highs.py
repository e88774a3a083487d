"""HiGHS, as scipy ships it: the one file that imports scipy.

What it says is a claim: it works in floating point, with feasibility tolerances of 1e-7
(rows) and 1e-6 (integers).

Reference:
    Huangfu, Hall. Parallelizing the dual revised simplex method. Mathematical
    Programming Computation 2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from robustcert.errors import UsageError

_OPTIMAL = 0
_INFEASIBLE = 2


@dataclass(frozen=True, slots=True, eq=False)
class Relaxed:
    """What HiGHS says about a linear program.

    Attributes:
        point: ``(V,)`` a minimiser; empty where it found none.
        prices: ``(M,)`` >= 0, one a row; all zero where it found none.
    """

    point: Tensor
    prices: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """``matrix v <= limits``, ``low <= v <= high``."""

    matrix: Tensor
    limits: Tensor
    low: Tensor
    high: Tensor


def solver() -> ModuleType:
    """``scipy.optimize``.

    Raises:
        UsageError: scipy is not installed.
    """
    try:
        return import_module("scipy.optimize")
    except ModuleNotFoundError as error:
        raise UsageError(
            "milp needs scipy, which is not installed",
            remedy="pip install 'robustcert[oracle]'",
        ) from error


def is_installed() -> bool:
    """Whether scipy is there."""
    return find_spec("scipy") is not None


def relaxed(cost: Tensor, rows: Rows) -> Relaxed:
    """The smallest ``cost . v`` over the rows, without integers."""
    found = solver().linprog(
        cost.numpy(),
        A_ub=rows.matrix.numpy(),
        b_ub=rows.limits.numpy(),
        bounds=torch.stack([rows.low, rows.high], dim=1).numpy(),
        method="highs",
    )
    if found.status != _OPTIMAL:
        nothing = torch.zeros_like(rows.limits)
        return Relaxed(torch.zeros(0, dtype=torch.float64), nothing)
    prices = torch.from_numpy(-np.array(found.ineqlin.marginals)).clamp(min=0.0)
    return Relaxed(torch.from_numpy(np.array(found.x)), prices)


def conflict(rows: Rows) -> Tensor:
    """Prices ``(M,)`` >= 0 at which the rows seem to contradict each other.

    They are those of the smallest amount that all rows must be relaxed by.
    """
    ones = torch.ones(1, dtype=torch.float64)
    width = len(rows.low)
    elastic = Rows(
        torch.cat([rows.matrix, -ones.expand(len(rows.matrix), 1)], dim=1),
        rows.limits,
        torch.cat([rows.low, 0.0 * ones]),
        torch.cat([rows.high, torch.inf * ones]),
    )
    cost = torch.cat([torch.zeros(width, dtype=torch.float64), ones])
    return relaxed(cost, elastic).prices


def smallest(cost: Tensor, rows: Rows, binaries: Tensor, seconds: float) -> float:
    """The smallest ``cost . v`` with some variables 0 or 1; infinity if there is none.

    Args:
        cost: ``(V,)``.
        rows: the constraints.
        binaries: positions of the variables that are 0 or 1.
        seconds: for the search.

    Raises:
        UsageError: the time is over.
    """
    optimize = solver()
    whole = np.zeros(len(cost), dtype=np.int64)
    whole[binaries.numpy()] = 1
    found = optimize.milp(
        cost.numpy(),
        integrality=whole,
        bounds=optimize.Bounds(rows.low.numpy(), rows.high.numpy()),
        constraints=optimize.LinearConstraint(
            rows.matrix.numpy(), ub=rows.limits.numpy()
        ),
        options={"mip_rel_gap": 0.0, "time_limit": seconds},
    )
    if found.status == _INFEASIBLE:
        return float("inf")
    if found.status != _OPTIMAL:
        raise UsageError(
            f"HiGHS gives up: {found.message}",
            remedy="Give a smaller net or ball, or certify by branch-and-bound.",
        )
    return float(found.fun)
