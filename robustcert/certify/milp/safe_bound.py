r"""A lower bound of a linear program that holds whatever the solver's prices are.

For every :math:`y \ge 0` and every v with :math:`A v \le b`,
:math:`c v \ge (c + A^T y) v - y b`, whose minimum over the variables' bounds is a sum.
So the prices may come from anywhere; only this sum is trusted, with its rounding.

Reference:
    Neumaier, Shcherbina. Safe bounds in linear and mixed-integer linear programming.
    Mathematical Programming 2004.
"""

from __future__ import annotations

from torch import Tensor

from robustcert.certify.milp.highs import Rows
from robustcert.lipschitz.rounding import gamma


def safe_minimum(cost: Tensor, rows: Rows, prices: Tensor) -> float:
    """No v within ``rows`` has a smaller ``cost . v``.

    Args:
        cost: ``(V,)``.
        rows: with finite bounds of every variable.
        prices: ``(M,)`` >= 0; any. Above 0 at a cost of 0, the rows hold nothing.
    """
    reduced = cost + prices @ rows.matrix
    sizes = rows.low.abs().maximum(rows.high.abs())
    ends = (reduced * rows.low).minimum(reduced * rows.high)
    total = ends.sum() - prices @ rows.limits
    terms = gamma(2 * (len(prices) + len(cost)) + 32)
    spread = (cost.abs() + prices @ rows.matrix.abs()) @ sizes
    noise = terms * (spread + reduced.abs() @ sizes + prices @ rows.limits.abs())
    return float(total - 2.0 * noise)
