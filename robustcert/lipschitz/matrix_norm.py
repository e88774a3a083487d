"""Upper bounds on the norm of dense matrices, verified in float64.

The spectral norm rests on a Cholesky factorisation, not on the accuracy of an
eigenvalue solver: if the factorisation of ``c I - A A^H`` runs to completion in
floating point, the largest eigenvalue of ``A A^H`` is at most c plus a slack that is
known. The eigenvalue solver only proposes c.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustcert.lipschitz.rounding import UNIT, gamma, product_up, sum_up, up
from robustcert.results.norm import Norm

FOLDING = 16.0 * UNIT
"""Relative error granted to each weight for folding scales into it."""

_TRIED = 16  # matrices given to the eigenvalue solver at a time


def matrix_norm_bound(matrix: Tensor, norm: Norm) -> float:
    """Upper bound of the operator norm of ``matrix`` ``(rows, columns)``.

    The norm is the same on both sides. L-infinity: the largest absolute row sum,
    rounded up. L2: :func:`spectral_norm_bound`.
    """
    if matrix.numel() == 0:
        return 0.0
    if norm is Norm.LINF:
        largest = float(matrix.abs().sum(dim=1).max())
        return rounded_sum(largest, int(matrix.shape[1]))
    return spectral_norm_bound(matrix[None])


def rounded_sum(value: float, terms: int) -> float:
    """Upper bound of a sum of ``terms`` nonnegative folded weights, given its float."""
    return product_up(value, 1.0 + gamma(terms + 4) + FOLDING) if value else 0.0


def frobenius_bound(matrices: Tensor) -> float:
    """Upper bound of the Frobenius norm of all ``matrices`` taken together."""
    scale = _scale(matrices)
    if scale == 0.0:
        return 0.0
    square = float((matrices / scale).abs().square().sum())
    inflated = square * (1.0 + gamma(matrices.numel() + 8))
    return product_up(scale, up(up(math.sqrt(up(inflated)))))


def spectral_norm_bound(blocks: Tensor, floor: float = 0.0) -> float:
    """Upper bound of the spectral norm of a block-diagonal matrix.

    Args:
        blocks: ``(B, rows, columns)``, float64 or complex128, finite.
        floor: a value the result may have anyway, such as the bound of earlier
            blocks; blocks below it cost one factorisation and no eigenvalues.

    Returns:
        A number at least as large as every block's largest singular value and
        ``floor``; above it by a relative 2 k^2 u + 2 n tr(A A^H)/|A|^2 u at most, with
        k and n the short and the long side and u the unit roundoff: 1e-10 for
        k = 500. Exactly 0 for zero blocks.

    Reference:
        Rump. Verification of positive definiteness. BIT 2006, Theorem 2.3.
    """
    scale = _scale(blocks)
    if scale == 0.0:
        return floor
    grams = _grams(blocks / scale)
    trace = float(torch.diagonal(grams, dim1=1, dim2=2).real.sum(dim=1).max())
    length = max(blocks.shape[1:])
    known = (floor / scale) ** 2
    start = max(0.0, known - _slack(grams, length, trace, known))
    ceiling = _verified_ceiling(grams, start if math.isfinite(start) else 0.0)
    square = up(ceiling + _slack(grams, length, trace, ceiling))
    bound = product_up(scale, product_up(up(math.sqrt(square)), 1.0 + 4.0 * UNIT))
    folding = product_up(FOLDING, frobenius_bound(blocks.abs().amax(dim=0)))
    return max(floor, sum_up(bound, folding))


def _slack(grams: Tensor, length: int, trace: float, ceiling: float) -> float:
    """What rounding may hide: forming the Gram matrices, then factorising them.

    Twice the real constants ``gamma(length) trace`` and ``gamma(size + 1) size
    ceiling``, because the blocks may be complex.
    """
    size = grams.shape[-1]
    forming = 4.0 * (length + 8) * trace
    factorising = 4.0 * size * (size + 2) * (ceiling + trace / size)
    return up(UNIT * (forming + factorising))


def _scale(tensor: Tensor) -> float:
    """The power of two at or below the largest absolute value; 0 for zeros."""
    largest = float(tensor.abs().max())
    return 0.0 if largest == 0.0 else 2.0 ** (math.frexp(largest)[1] - 1)


def _grams(blocks: Tensor) -> Tensor:
    """``A A^H`` or ``A^H A``, whichever is smaller, of each block."""
    if blocks.shape[1] <= blocks.shape[2]:
        return blocks @ blocks.mH
    return blocks.mH @ blocks


def _verified_ceiling(grams: Tensor, floor: float) -> float:
    """A number c for which every ``c I - G`` has a Cholesky factorisation."""
    size = grams.shape[-1]
    step = 1.0 + 8.0 * (size + 2) * size * UNIT
    identity = torch.eye(size, dtype=grams.dtype, device=grams.device)
    waiting, ceiling = grams, floor
    while len(waiting):
        if ceiling > 0.0:
            _, info = torch.linalg.cholesky_ex(ceiling * identity - waiting)
            waiting = waiting[info != 0]
        if len(waiting):
            ceiling = max(ceiling, _proposal(waiting)) * step
    return ceiling


def _proposal(grams: Tensor) -> float:
    """The largest eigenvalue among the matrices that look largest."""
    sizes = torch.linalg.matrix_norm(grams)
    likely = sizes.topk(min(_TRIED, len(sizes))).indices
    return max(float(torch.linalg.eigvalsh(grams[likely])[:, -1].max()), 5e-324)
