"""The barrier's derivatives in the multipliers of the dense part.

With ``lambda = 1 / (2 T)`` the matrix inequality of LipSDP over the units' outputs is
``K = 2 Lambda - Lambda W - W^T Lambda - Lambda Gamma Lambda > 0``, Gamma the covariance
of what the units read directly of the input (or of a torus in front). Outputs read
``G = Gamma_oo + Z^T K^-1 Z`` with ``Z = C^T + Lambda Gamma_to``; its largest eigenvalue
is the squared Lipschitz bound and convex in lambda.

Every derivative of K is ``E_j = e_j b_j^T + b_j e_j^T``, ``b_j`` column j of
``B = I - W^T - Lambda Gamma``; so ``X = K^-1``, ``Y = B^T X`` and
``V = B^T X B + Gamma`` are all that second derivatives need.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.lipschitz.lipsdp.search.coupled import (
    Factor,
    factored,
    gram,
    halfway,
    inverse,
    solution,
)
from robustcert.lipschitz.lipsdp.search.curvature import Curvature, curvature
from robustcert.lipschitz.lipsdp.search.unrolled import DensePart


@dataclass(frozen=True, slots=True, eq=False)
class DenseState:
    """The dense part at some multipliers.

    Attributes:
        part: the maps.
        multipliers: ``(n,)`` lambda.
        gamma: ``(h, h)``, of the units that read, then of the outputs if they do.
        factor: of K; ``None`` without units.
        half: Z, half eliminated.
        values: ``(k,)`` eigenvalues of the outputs' covariance, ascending.
        vectors: ``(k, k)``.
    """

    part: DensePart
    multipliers: Tensor
    gamma: Tensor
    factor: Factor | None
    half: dict[int, Tensor]
    values: Tensor
    vectors: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """``alpha = K^-1 Z U`` and ``beta = B^T alpha`` in full, one column an eigenvalue.

    Attributes:
        alpha: ``(n, k)``.
        beta: ``(n, k)``; an eigenvalue's slope in ``lambda_j`` is ``-2 alpha beta``.
        felt: ``(h, k)``: how the eigenvalues feel each row and column of Gamma.
    """

    alpha: Tensor
    beta: Tensor
    felt: Tensor


def dense_state(
    part: DensePart, multipliers: Tensor, gamma: Tensor
) -> DenseState | None:
    """The part at these multipliers; ``None`` where K is not positive definite.

    Args:
        part: the maps.
        multipliers: ``(n,)``, above 0.
        gamma: ``(h, h)``, of all that read.
    """
    count = part.outputs.shape[1]
    units = len(gamma) - (count if part.outputs_read else 0)
    covariance = gamma.new_zeros(count, count)
    right = part.outputs
    if part.outputs_read:
        covariance = gamma[units:, units:]
        readers = part.readers
        right = right.index_add(
            0, readers, multipliers[readers, None] * gamma[:units, units:]
        )
    factor, half = None, {}
    if part.units:
        factor = _factored(part, multipliers, gamma)
        if factor is None:
            return None
        half = halfway(factor, _by_node(part, right))
        if half:
            covariance = covariance + gram(factor, half)
    values, vectors = torch.linalg.eigh(covariance)
    return DenseState(part, multipliers, gamma, factor, half, values, vectors)


def sides(state: DenseState) -> Sides:
    """First derivatives of the eigenvalues."""
    part = state.part
    alpha = part.outputs.new_zeros(part.units, len(state.values))
    if state.factor is not None and state.half:
        alpha = solution(state.factor, state.half)[0] @ state.vectors
    readers = part.readers
    felt = state.multipliers[readers, None] * alpha[readers]
    if part.outputs_read:
        felt = torch.cat([felt, state.vectors])
    beta = alpha.clone()
    _subtract_heard(part, beta, alpha)
    beta.index_add_(0, readers, state.gamma[: len(readers)] @ felt, alpha=-1.0)
    return Sides(alpha, beta, felt)


def dense_curvature(state: DenseState) -> Curvature:
    """Second derivatives of K's inverse, one group."""
    part = state.part
    if state.factor is None:
        empty = part.outputs.new_zeros(1, 0, 0)
        return Curvature(empty, empty, empty)
    x = inverse(state.factor, 0)
    return curvature(part.layout, part.couplings, state.multipliers, x)


def _subtract_heard(part: DensePart, result: Tensor, columns: Tensor) -> None:
    """Takes ``W`` times the columns from the result."""
    for (i, j), block in part.couplings.items():
        own = result[part.layout.rows(j)]
        own.addmm_(block[0].T, columns[part.layout.rows(i)], alpha=-1.0)


def _read_blocks(part: DensePart) -> list[tuple[slice, slice]]:
    """Where each reading node stands in Gamma, and in K."""
    found, begin = [], 0
    for node in part.reading:
        rows = part.layout.rows(node)
        end = begin + rows.stop - rows.start
        found.append((slice(begin, end), rows))
        begin = end
    return found


def _by_node(part: DensePart, columns: Tensor) -> dict[int, Tensor]:
    """By node, those that are 0 left out."""
    nodes = range(len(part.layout.widths))
    found = {node: columns[part.layout.rows(node)][None] for node in nodes}
    return {node: entry for node, entry in found.items() if bool((entry != 0).any())}


def _factored(part: DensePart, multipliers: Tensor, gamma: Tensor) -> Factor | None:
    layout = part.layout
    nodes = range(len(layout.widths))
    by_node = [multipliers[layout.rows(node)] for node in nodes]
    diagonal = [torch.diag(2.0 * own)[None] for own in by_node]
    couplings = {
        (i, j): -block * by_node[j] for (i, j), block in part.couplings.items()
    }
    blocks = dict(zip(part.reading, _read_blocks(part), strict=True))
    for i, (rows, _) in blocks.items():
        for j, (columns, _) in blocks.items():
            if i > j:
                continue
            through = by_node[i][:, None] * gamma[rows, columns] * by_node[j]
            if i == j:
                diagonal[i] -= through
            else:
                couplings[i, j] = couplings.get((i, j), 0.0) - through[None]
    return factored(layout, diagonal, couplings)
