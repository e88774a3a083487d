"""Verified upper bounds on the largest eigenvalues of positive semidefinite matrices.

If the Cholesky factorisation of ``c I - G`` runs to completion in floating point, the
largest eigenvalue of G is at most c plus a slack that is known: twice the real
constant ``gamma(k + 1) k c``, because G may be complex. How c was proposed does not
matter.

Reference:
    Rump. Verification of positive definiteness. BIT 2006, Theorem 2.3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.lipschitz.rounding import UNIT, gamma, up

Proposal = Callable[[Tensor], Tensor]
"""Largest eigenvalues ``(B,)`` of ``(B, k, k)``, near enough; nothing rests on them."""

_TRIED = 8  # matrices of one owner that are given to the proposal at a time
_LARGE = 384  # size from which Lanczos is faster than all eigenvalues
_STEPS = 120
_CONVERGED = 1e-6  # relative residual; the eigenvalue errs by its square
_SMALL = 160  # the same where a few digits are enough
_NEAR_STEPS = 30
_NEAR = 1e-3
_CHECKED = 10
_MARGIN = 1.0 + 1e-10


def verified_ceilings(
    grams: Tensor, owners: Tensor, floors: Tensor, propose: Proposal
) -> Tensor:
    """A number for each owner that every matrix of his lies below.

    Args:
        grams: ``(B, k, k)`` real or complex, positive semidefinite up to rounding.
        owners: ``(B,)`` whose each matrix is: 0, ..., P - 1.
        floors: ``(P,)`` values the result may have anyway; a matrix below costs one
            factorisation and no eigenvalue.
        propose: asked first; where it errs, all eigenvalues are computed.

    Returns:
        ``(P,)`` numbers c: ``c I - G`` has a factorisation for every G of the owner, or
        c is above the Frobenius norm of G.
    """
    size = grams.shape[-1]
    step = 1.0 + 8.0 * (size + 2) * size * UNIT
    frobenius = torch.linalg.matrix_norm(grams) * (1.0 + gamma(size * size + 8))
    ceilings, ask = floors.clone(), propose
    waiting = _unproved(grams, frobenius, ceilings[owners], torch.arange(len(grams)))
    while len(waiting):
        likely = _likely(waiting, owners, frobenius)
        tops = ask(grams[likely]).clamp(min=5e-324)
        found = torch.zeros_like(ceilings)
        found.scatter_reduce_(0, owners[likely], tops, "amax")
        ceilings = torch.where(found > 0.0, step * ceilings.maximum(found), ceilings)
        waiting = _unproved(grams, frobenius, ceilings[owners], waiting)
        ask = _dense_tops
    return ceilings


def _likely(waiting: Tensor, owners: Tensor, frobenius: Tensor) -> Tensor:
    """Of each owner, those that wait and look largest."""
    order = waiting[frobenius[waiting].argsort(descending=True)]
    order = order[owners[order].argsort(stable=True)]
    mine = owners[order]
    rank = torch.arange(len(order)) - torch.searchsorted(mine, mine)
    return order[rank < _TRIED]


def _unproved(
    grams: Tensor, frobenius: Tensor, ceilings: Tensor, waiting: Tensor
) -> Tensor:
    """Those of ``waiting`` that are not known to lie below their ceilings."""
    waiting = waiting[frobenius[waiting] > ceilings[waiting]]
    tried = waiting[ceilings[waiting] > 0.0]
    if len(tried) == 0:
        return waiting
    gaps = -grams[tried]
    gaps.diagonal(dim1=1, dim2=2).add_(ceilings[tried][:, None])
    _, info = torch.linalg.cholesky_ex(gaps)
    return torch.cat([waiting[ceilings[waiting] <= 0.0], tried[info != 0]])


def factorisation_slack(size: int, trace: float, ceiling: float) -> float:
    """What a factorisation may hide: the largest eigenvalue is below ceiling + slack.

    Args:
        size: of the matrix.
        trace: of the matrix, an upper bound.
        ceiling: c of :func:`verified_ceilings`.
    """
    return up(4.0 * size * (size + 2) * UNIT * (ceiling + trace / max(size, 1)))


def exact_tops(grams: Tensor) -> Tensor:
    """Largest eigenvalues to nearly all digits."""
    if grams.shape[-1] < _LARGE:
        return _dense_tops(grams)
    ritz = _ritz(grams, _STEPS, _CONVERGED)
    tops = ritz.tops * _MARGIN
    open_ = ritz.residuals > _CONVERGED * ritz.tops
    if bool(open_.any()):
        tops[open_] = _dense_tops(grams[open_])
    return tops


def near_tops(grams: Tensor) -> Tensor:
    """Largest eigenvalues to some four digits or better.

    The error that a few steps leave is estimated by Kato's and Temple's inequality,
    ``residual^2 / gap``, and added.
    """
    if grams.shape[-1] < _SMALL:
        return _dense_tops(grams)
    ritz = _ritz(grams, _NEAR_STEPS, _NEAR)
    share = (ritz.residuals / ritz.gaps.clamp(min=1e-300)).clamp(max=1.0)
    return (ritz.tops + ritz.residuals * share) * _MARGIN


def _dense_tops(grams: Tensor) -> Tensor:
    tops: Tensor = torch.linalg.eigvalsh(grams)[:, -1]
    return tops


@dataclass(frozen=True, slots=True, eq=False)
class _Ritz:
    """Largest Ritz values ``(B,)``, their residuals, and gaps to the second largest."""

    tops: Tensor
    residuals: Tensor
    gaps: Tensor


def _ritz(grams: Tensor, steps: int, converged: float) -> _Ritz:
    """Lanczos with full reorthogonalisation, on all matrices at once.

    Args:
        grams: ``(B, k, k)``, k well above ``steps``.
        steps: at most.
        converged: relative residual at which to stop.
    """
    count, size = grams.shape[:2]
    basis = grams.new_zeros(count, size, steps + 1)
    coupling = grams.new_zeros(count, steps + 1, steps + 1)
    likely = grams.diagonal(dim1=1, dim2=2).real.argmax(dim=1)
    ahead = grams[torch.arange(count), :, likely][:, :, None]
    found = _Ritz(*ahead.new_zeros(3, count).real)
    for step in range(steps + 1):
        size_ahead = torch.linalg.vector_norm(ahead, dim=1, keepdim=True)
        if step and (step % _CHECKED == 0 or step == steps):
            found = _largest_ritz(coupling[:, :step, :step], size_ahead.flatten())
            if bool((found.residuals <= converged * found.tops).all()):
                break
        basis[:, :, step : step + 1] = ahead / size_ahead.clamp(min=1e-300)
        if step < steps:
            ahead = grams @ basis[:, :, step : step + 1]
            known = basis[:, :, : step + 1]
            for _ in range(2):
                shares = known.mH @ ahead
                ahead = ahead - known @ shares
                coupling[:, : step + 1, step : step + 1] += shares
    return found


def _largest_ritz(coupling: Tensor, ahead: Tensor) -> _Ritz:
    values, vectors = torch.linalg.eigh(coupling, UPLO="U")
    residuals = ahead * vectors[:, -1, -1].abs()
    return _Ritz(values[:, -1], residuals, values[:, -1] - values[:, -2])
