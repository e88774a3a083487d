"""Second derivatives of ``K^-1`` without the parts that read the input.

Rows of units in ``K`` are ``Lambda B^H + (I - W^H) Lambda``, in ``B`` ``I - W^H``. From
``K X = I`` and ``K X B = B`` follow ``Y = B^H X`` and ``V = B^H X B``::

    Lambda Y = I - (I - W^H) Lambda X
    Lambda V = (I - W^H) (I - Lambda Y^H)

so that neither the input's maps nor the covariance of what is read take part.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from robustcert.lipschitz.lipsdp.search.coupled import Couplings, Layout, gathered


@dataclass(frozen=True, slots=True, eq=False)
class Curvature:
    """``X``, ``Y`` and ``V`` by group, ``(groups, n, n)`` each."""

    x: Tensor
    y: Tensor
    v: Tensor


def curvature(
    layout: Layout, couplings: Couplings, multipliers: Tensor, x: Tensor
) -> Curvature:
    """From the inverse of K at the units.

    Args:
        layout: of the units' nodes.
        couplings: ``W^H`` between them.
        multipliers: ``(n,)`` lambda, one a row.
        x: ``(groups, n, n)``.
    """
    inverses = (1.0 / multipliers)[:, None]
    y = _less_heard(layout, couplings, x * multipliers[:, None]).neg_()
    y.diagonal(dim1=1, dim2=2).add_(1.0)
    y *= inverses
    rest = (y.mH * multipliers[:, None]).neg_()
    rest.diagonal(dim1=1, dim2=2).add_(1.0)
    v = _less_heard(layout, couplings, rest)
    v *= inverses
    return Curvature(x, y, v)


def _less_heard(layout: Layout, couplings: Couplings, columns: Tensor) -> Tensor:
    """``I - W^H`` times the columns, in their place.

    A node changes before those that it reads, so each still meets the old columns.
    """
    for i, j in sorted(couplings):
        ancestors = layout.groups * layout.counts[j]
        rows = gathered(columns[:, layout.rows(j)], ancestors)
        heard = gathered(couplings[i, j], ancestors) @ rows
        columns[:, layout.rows(i)] -= gathered(heard, layout.groups)
    return columns
