r"""Bounds from multipliers, proved in floating point for dense programs.

If u has covariance P (``u u^T <= P`` in the order of positive definite matrices, for
inputs at distance 1), ``v`` is the activation of ``z = u[acted]`` with slopes in [0, 1]
and T is diagonal with ``A = T - N/4 > 0``, N the covariance of z, then P' is a
covariance of ``C u + S v`` if

.. math:: K = \begin{pmatrix} A & G^T \\ G & P' - C P C^T \end{pmatrix} \ge 0,
    \qquad G = S T + C P_{:,acted} / 2.

Here L is the Cholesky factor of ``A - eta T`` and ``Y = L^{-1} G^T``, both as computed,
and ``P' = C P C^T + Y^T Y + R`` with R diagonal. So K is a square plus ``diag(eta T,
R)`` plus what rounding did, of which each part is below a diagonal matrix:

- factorising: ``m gamma T`` in the upper left, as entries of the backward error are at
  most ``gamma sqrt(T_i T_j)``;
- G and the triangular solve: entries at most ``E``. For any a > 0 they are below
  ``diag(a T, n' z^2 / a)`` with z the row norms of ``E T^{-1/2}``;
- the lower right: the row sums of the entries.

References:
    Higham. Accuracy and Stability of Numerical Algorithms. 2002, Theorems 8.5, 10.3.
    Rump. Verification of positive definiteness. BIT 2006.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from robustcert.errors import UnsupportedLayerError
from robustcert.lipschitz.eigenvalue_ceiling import (
    exact_tops,
    factorisation_slack,
    verified_ceilings,
)
from robustcert.lipschitz.lipsdp.program import Program, Stage
from robustcert.lipschitz.local.entry_errors import EntryErrors, StageError
from robustcert.lipschitz.rounding import gamma, up

_LEAST_SPLIT = 2.0**-36


def verified_bound(
    program: Program, multipliers: Sequence[Tensor], errors: EntryErrors
) -> float:
    """Upper bound of the Lipschitz constant (L2) of every map the program stands for.

    Args:
        program: dense (not on a torus), float64.
        multipliers: ``(M,)`` for each stage, as for ``output_covariance``.
        errors: how far the maps may be from the program's matrices.

    Returns:
        A bound in the graph's scale, rounded up; infinity where the multipliers prove
        nothing.

    Raises:
        UnsupportedLayerError: the program is on a torus.
    """
    covariances = verified_covariances(program, multipliers, errors)
    if covariances is None:
        return math.inf
    last = covariances[-1]
    if not bool(torch.isfinite(last).all()):
        return math.inf
    if len(last) == 0 or not bool(last.any()):
        return 0.0
    zero = torch.zeros(1, dtype=torch.float64)
    owner = torch.zeros(1, dtype=torch.int64)
    ceiling = float(verified_ceilings(last[None], owner, zero, exact_tops)[0])
    trace = up(float(last.trace()) * (1.0 + gamma(len(last) + 4)))
    square = up(ceiling + factorisation_slack(len(last), trace, ceiling))
    return up(math.ldexp(up(math.sqrt(square)), -program.exponents[-1]))


def verified_covariances(
    program: Program, multipliers: Sequence[Tensor], errors: EntryErrors
) -> list[Tensor] | None:
    """A covariance ``(n, n)`` of every frontier: these floats, exactly.

    Returns:
        ``len(stages) + 1`` matrices in the program's scale; ``None`` where some
        multipliers are too small.

    Raises:
        UnsupportedLayerError: the program is on a torus.
    """
    _require_dense(program)
    found = [_start(program.start[0, 0], errors.start)]
    for stage, chosen, error in zip(
        program.stages, multipliers, errors.stages, strict=True
    ):
        ahead = _ahead(stage, found[-1], chosen, error)
        if ahead is None:
            return None
        found.append(ahead)
    return found


def _start(matrix: Tensor, error: Tensor) -> Tensor:
    sizes = torch.linalg.vector_norm(matrix, dim=1)
    blurs = torch.linalg.vector_norm(error, dim=1)
    excess = gamma(2 * matrix.shape[1] + 16) * sizes * sizes.sum()
    excess = excess + _cross(sizes, blurs)
    return _raised(matrix @ matrix.T, excess)


def _ahead(
    stage: Stage, covariance: Tensor, multipliers: Tensor, error: StageError
) -> Tensor | None:
    units, width = len(multipliers), len(covariance)
    spread, roots = stage.spread[0, 0], multipliers.sqrt()
    own = torch.linalg.vector_norm(spread * roots, dim=1)
    own_blur = torch.linalg.vector_norm(error.spread * roots, dim=1)
    split = _split(units, own, own_blur)
    factor = _factor(stage, covariance, multipliers, split)
    if factor is None:
        return None
    gain = spread * multipliers
    deviations = covariance.diagonal().clamp(min=0.0).sqrt()
    sizes, blurs = torch.zeros(len(spread)).double(), torch.zeros(len(spread)).double()
    carried = torch.zeros(len(spread), len(spread), dtype=torch.float64)
    if stage.carry is not None and error.carry is not None:
        carry = stage.carry[0, 0]
        gain = gain + 0.5 * (carry @ covariance[:, stage.acted])
        carried = (carry @ covariance) @ carry.T
        # |P_ij| <= sqrt(P_ii P_jj)
        sizes, blurs = carry.abs() @ deviations, error.carry @ deviations
    solved = torch.linalg.solve_triangular(factor, gain.T, upper=False)
    lengths = torch.linalg.vector_norm(solved, dim=0)
    # The rows of C P_{:,acted} T^{-1/2} / 2, as P_jj <= 4 T_j: at most sizes sqrt(m).
    many = math.sqrt(units)
    rows = gamma(2 * width + 16) * (own + many * sizes) + own_blur + many * blurs
    rows = rows + gamma(2 * units + 16) * many * lengths
    excess = (len(spread) / split) * rows.square()
    excess = excess + gamma(2 * units + 16) * lengths * lengths.sum()
    excess = excess + gamma(4 * width + 16) * sizes * sizes.sum()
    excess = excess + _cross(sizes, blurs)
    return _raised(carried + solved.T @ solved, excess)


def _factor(
    stage: Stage, covariance: Tensor, multipliers: Tensor, split: float
) -> Tensor | None:
    """Cholesky factor of ``(1 - eta) T - N / 4``."""
    units = len(multipliers)
    spent = 2.0 * (units * gamma(units + 4) + split) + gamma(16)
    gap = -0.25 * covariance[stage.acted][:, stage.acted]
    gap.diagonal().add_((1.0 - spent) * multipliers)
    factor: Tensor
    factor, info = torch.linalg.cholesky_ex(gap)
    if bool(info != 0) or not bool(torch.isfinite(factor).all()):
        return None
    return factor


def _split(units: int, sizes: Tensor, blurs: Tensor) -> float:
    """The a above: what of T is spent on the errors of G; any number is sound.

    Best is ``sqrt(n')`` times the errors relative to the deviations of the next
    frontier, which are at least ``sizes``.
    """
    shares = (blurs / sizes).nan_to_num(nan=0.0, posinf=0.0)
    worst = float(shares.max()) if len(shares) else 0.0
    return _LEAST_SPLIT + units * gamma(units + 4) + math.sqrt(len(sizes)) * worst


def _cross(sizes: Tensor, blurs: Tensor) -> Tensor:
    """Row sums of ``s b^T + b s^T + b b^T``."""
    return sizes * blurs.sum() + blurs * (sizes.sum() + blurs.sum())


def _raised(matrix: Tensor, excess: Tensor) -> Tensor:
    """The symmetric matrix with twice the excess, and its own rounding, on top."""
    lower = matrix.tril()
    whole = lower + lower.tril(-1).T
    rounding = gamma(16) * whole.abs().sum(dim=1)
    whole.diagonal().add_(2.0 * (excess + rounding))
    return whole


def _require_dense(program: Program) -> None:
    if program.torus or program.start.shape[:2] != (1, 1):
        raise UnsupportedLayerError("model", "a torus program is proved by the checker")
