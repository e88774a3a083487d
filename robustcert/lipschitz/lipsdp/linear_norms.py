"""Upper bounds on norms of many block-diagonal matrices at once, at little cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from robustcert.lipschitz.eigenvalue_ceiling import near_tops
from robustcert.lipschitz.matrix_norm import Gram, gram_norm_bounds
from robustcert.lipschitz.rounding import gamma, product_up, sum_up, up

_TINY = 1e-60


def spectral_norm_bounds(matrices: Sequence[Tensor]) -> list[float]:
    """Upper bound of the largest singular value of each, some 1e-6 above it.

    All Gram matrices of one size are factorised together, and no eigenvalue is
    computed where a few squarings find the largest one. The numbers are taken as they
    are: nothing is granted for folding.

    Args:
        matrices: ``(B, rows, columns)`` each, float64 or complex128, finite.
    """
    bounds = [0.0] * len(matrices)
    waiting: dict[tuple[int, torch.dtype], list[int]] = {}
    for place, matrix in enumerate(matrices):
        if _scale(matrix) > 0.0:
            group = min(matrix.shape[1:]), matrix.dtype
            waiting.setdefault(group, []).append(place)
    for places in waiting.values():
        grams = [_gram(matrices[place]) for place in places]
        for place, bound in zip(
            places, gram_norm_bounds(grams, near_tops), strict=True
        ):
            bounds[place] = bound
    return bounds


def loose_norm_bound(matrix: Tensor) -> float:
    """Upper bound of the spectral norm of ``(B, rows, columns)``, some 30 % above it.

    ``|A|^4 <= |(A A^H)^2|_F``: two products of matrices and nothing else.
    """
    if _scale(matrix) == 0.0:
        return 0.0
    gram = _gram(matrix)
    size = gram.blocks.shape[-1]
    once = block_frobenius_bound(gram.blocks)
    twice = block_frobenius_bound(gram.blocks @ gram.blocks)
    fourth = sum_up(twice, product_up(gamma(4 * (size + 8)), product_up(once, once)))
    trace = product_up(math.sqrt(size), once)
    forming = product_up(gamma(4 * (gram.length + 8)), up(trace))
    square = sum_up(up(math.sqrt(fourth)), forming)
    return product_up(gram.scale, up(math.sqrt(square)))


def block_frobenius_bound(matrix: Tensor) -> float:
    """Upper bound of the largest Frobenius norm of ``matrix[b]``, over b."""
    scale = _scale(matrix)
    if scale == 0.0:
        return 0.0
    flat = _real(matrix if scale == 1.0 else matrix / scale).flatten(1)
    largest = float(torch.linalg.vector_norm(flat, dim=1).max())
    inflated = largest * (1.0 + gamma(flat.shape[1] + 16))
    return product_up(scale, up(inflated))


def _gram(matrix: Tensor) -> Gram:
    scale = _scale(matrix)
    scaled = matrix if scale == 1.0 else matrix / scale
    rows, columns = matrix.shape[1:]
    gram = scaled @ scaled.mH if rows <= columns else scaled.mH @ scaled
    return Gram(gram, max(rows, columns), scale)


def _scale(matrix: Tensor) -> float:
    """A power of two that brings the entries to where squares are safe; 0 for zeros.

    Dividing costs a pass over the memory, so it is 1 wherever it can be.
    """
    if matrix.numel() == 0:
        return 0.0
    low, high = torch.aminmax(_real(matrix))
    largest = max(-float(low), float(high))
    if largest == 0.0 or _TINY < largest < 1.0 / _TINY:
        return 0.0 if largest == 0.0 else 1.0
    return math.ldexp(1.0, math.frexp(largest)[1])


def _real(matrix: Tensor) -> Tensor:
    return torch.view_as_real(matrix) if matrix.is_complex() else matrix
