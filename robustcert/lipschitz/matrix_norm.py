"""Upper bounds on the norm of dense matrices, verified in float64.

The spectral norm rests on Cholesky factorisations of ``c I - A A^H``, not on the
accuracy of an eigenvalue solver, which only proposes c.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.lipschitz.eigenvalue_ceiling import (
    Proposal,
    exact_tops,
    factorisation_slack,
    verified_ceilings,
)
from robustcert.lipschitz.rounding import UNIT, gamma, product_up, sum_up, up
from robustcert.results.norm import Norm

FOLDING = 16.0 * UNIT
"""Relative error granted to each weight for folding scales into it."""


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
    scale = power_below(matrices)
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
    """
    scale = power_below(blocks)
    if scale == 0.0:
        return floor
    gram = Gram(_grams(blocks / scale), max(blocks.shape[1:]), scale)
    (bound,) = gram_norm_bounds([gram], exact_tops, floor)
    folding = product_up(FOLDING, frobenius_bound(blocks.abs().amax(dim=0)))
    return max(floor, sum_up(bound, folding))


@dataclass(frozen=True, slots=True, eq=False)
class Gram:
    """Gram matrices of the blocks of a block-diagonal matrix A.

    Attributes:
        blocks: ``(B, k, k)``, of ``A / scale``; every entry is a sum of ``length``
            products, computed in floating point.
        length: number of products.
        scale: of A, above 0.
    """

    blocks: Tensor
    length: int
    scale: float


def gram_norm_bounds(
    grams: Sequence[Gram], propose: Proposal, floor: float = 0.0
) -> list[float]:
    """Upper bound of the spectral norm of each A, by one run of factorisations.

    Args:
        grams: of one size k.
        propose: largest eigenvalues to be verified.
        floor: a value each result may have anyway.
    """
    traces = [
        float(torch.diagonal(g.blocks, dim1=1, dim2=2).real.sum(dim=1).max())
        for g in grams
    ]
    known = [(floor / g.scale) ** 2 for g in grams]
    starts = [
        max(0.0, square - _slack(gram, trace, square)) if math.isfinite(square) else 0.0
        for gram, trace, square in zip(grams, traces, known, strict=True)
    ]
    counts = torch.tensor([len(g.blocks) for g in grams])
    ceilings = verified_ceilings(
        torch.cat([g.blocks for g in grams]),
        torch.arange(len(grams)).repeat_interleave(counts),
        torch.tensor(starts, dtype=torch.float64),
        propose,
    ).tolist()
    return [
        _root_bound(gram, ceiling, trace)
        for gram, ceiling, trace in zip(grams, ceilings, traces, strict=True)
    ]


def _root_bound(gram: Gram, ceiling: float, trace: float) -> float:
    square = up(ceiling + _slack(gram, trace, ceiling))
    return product_up(gram.scale, product_up(up(math.sqrt(square)), 1.0 + 4.0 * UNIT))


def _slack(gram: Gram, trace: float, ceiling: float) -> float:
    """What rounding may hide: forming the Gram matrices, then factorising them.

    Twice the real constant ``gamma(length) trace``, because A may be complex.
    """
    forming = 4.0 * (gram.length + 8) * UNIT * trace
    size = gram.blocks.shape[-1]
    return up(forming + factorisation_slack(size, trace, ceiling))


def power_below(tensor: Tensor) -> float:
    """The power of two at or below the largest real number in it; 0 for zeros."""
    if tensor.numel() == 0:
        return 0.0
    numbers = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    low, high = torch.aminmax(numbers)
    largest = max(-float(low), float(high))
    return 0.0 if largest == 0.0 else 2.0 ** (math.frexp(largest)[1] - 1)


def _grams(blocks: Tensor) -> Tensor:
    """``A A^H`` or ``A^H A``, whichever is smaller, of each block."""
    if blocks.shape[1] <= blocks.shape[2]:
        return blocks @ blocks.mH
    return blocks.mH @ blocks
