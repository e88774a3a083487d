"""The barrier's derivatives in the multipliers of the channels on a torus.

Here the input stays a node of its own, so that the matrix
``K = [[I, -A^H Lambda], [-Lambda A, 2 Lambda - Lambda W - W^H Lambda]]`` is linear in
lambda, one matrix for each coarse frequency. The dense part reads the torus only by
``Gamma = Re sum R K^-1 R^H``. With ``Phi = K^-1 R^H``, ``E_j`` the derivative of K in a
channel's multiplier and m the eigenvalues' sides, all mixed terms follow from
``(Phi^H E_j Phi) m``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.lipschitz.lipsdp.search.coupled import (
    Couplings,
    Factor,
    Layout,
    factored,
    gathered,
    gram,
    halfway,
    inverse,
    solution,
)
from robustcert.lipschitz.lipsdp.search.curvature import curvature
from robustcert.lipschitz.lipsdp.search.unrolled import TorusPart

CHUNK = 2**18
"""Entries of the matrices that are worked on at once."""


@dataclass(frozen=True, slots=True, eq=False)
class TorusState:
    """The torus part at some multipliers.

    Attributes:
        part: the maps.
        multipliers: lambda of each row but the input's.
        factor: of K.
        half: the reads R^H, half eliminated.
        gamma: ``(h, h)``, the covariance of what is read.
    """

    part: TorusPart
    multipliers: Tensor
    factor: Factor
    half: dict[int, Tensor]
    gamma: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class TorusCurvature:
    """Sums over frequencies.

    Attributes:
        through: ``(channels, h, k)``, ``(Phi^H E_j Phi) m``.
        hessian: ``(channels, channels)``, the terms inside one frequency.
        slope: ``(channels,)`` derivatives of logdet K.
    """

    through: Tensor
    hessian: Tensor
    slope: Tensor


def torus_state(part: TorusPart, multipliers: Tensor) -> TorusState | None:
    """The part at these multipliers; ``None`` where K is not positive definite.

    Args:
        part: the maps.
        multipliers: ``(channels,)``, above 0, stage by stage.
    """
    layout = part.layout
    by_node = torch.split(multipliers, list(layout.widths[1:]))
    first = layout.groups * layout.counts[0]
    like = next(iter((part.couplings or part.reads).values()))
    eye = torch.eye(layout.widths[0], dtype=like.dtype, device=like.device)
    diagonal = [eye.expand(first, -1, -1)]
    for count, own in zip(layout.counts[1:], by_node, strict=True):
        block = torch.diag(2.0 * own).to(like.dtype)
        diagonal.append(block.expand(layout.groups * count, -1, -1))
    couplings = {
        (i, j): -block * by_node[j - 1] for (i, j), block in part.couplings.items()
    }
    factor = factored(layout, diagonal, couplings)
    if factor is None:
        return None
    half = halfway(factor, part.reads)
    rows = multipliers[channels(part).to(multipliers.device)]
    return TorusState(part, rows, factor, half, gram(factor, half))


def channels(part: TorusPart) -> Tensor:
    """``(size - inputs,)``: the number of each row's channel among all of them."""
    begin, found = 0, []
    for count, width in zip(
        part.layout.counts[1:], part.layout.widths[1:], strict=True
    ):
        found.append(torch.arange(begin, begin + width).repeat(count))
        begin += width
    return torch.cat(found)


def torus_curvature(
    state: TorusState, felt: Tensor, weights: Tensor, weakness: float
) -> TorusCurvature:
    """Second derivatives of the barrier, a few frequencies at a time.

    Args:
        state: of the torus.
        felt: ``(h, k)``, the eigenvalues' sides m at the rows that are read.
        weights: ``(k,)``, derivatives of the barrier in the eigenvalues.
        weakness: factor of the barrier ``-logdet K``.
    """
    part = state.part
    layout = part.layout
    step = max(1, CHUNK // layout.size**2)
    sums: TorusCurvature | None = None
    for begin in range(0, layout.groups, step):
        groups = slice(begin, min(begin + step, layout.groups))
        own = _curvature_of(state, groups, (felt, weights, weakness))
        sums = own if sums is None else _added(sums, own)
    assert sums is not None  # noqa: S101  (a layout has groups)
    return sums


def _added(first: TorusCurvature, second: TorusCurvature) -> TorusCurvature:
    return TorusCurvature(
        first.through + second.through,
        first.hessian + second.hessian,
        first.slope + second.slope,
    )


def _curvature_of(
    state: TorusState, groups: slice, outside: tuple[Tensor, Tensor, float]
) -> TorusCurvature:
    """The sums over some of the frequencies."""
    felt, weights, weakness = outside
    part = state.part
    layout = part.layout
    factor = state.factor.part(groups)
    half = {i: entry[layout.blocks(groups, i)] for i, entry in state.half.items()}
    inputs = layout.rows(0).stop
    phi = solution(factor, half)
    heard = _differences(part, groups, phi)
    units = phi[:, inputs:]
    alpha, beta = _wide(units, felt), _wide(heard, felt)
    within = curvature(
        layout.part(groups).without_first(),
        _between_units(part, groups),
        state.multipliers,
        inverse(factor, 1),
    )
    x, y, v = within.x, within.y, within.v
    alpha_alpha = (alpha * weights) @ alpha.mH
    beta_beta = (beta * weights) @ beta.mH
    crossing = (alpha * weights) @ beta.mH
    inside = _summed(x, beta_beta)
    inside += _summed(v, alpha_alpha + weakness * x)
    both = _summed(y, 2.0 * crossing + weakness * y.mH)
    inside += 0.5 * (both + both.T)
    slope = 2.0 * y.diagonal(dim1=1, dim2=2).real.sum(dim=0)
    owner = channels(part).to(x.device)
    zero = slope.new_zeros(sum(layout.widths[1:]))
    return TorusCurvature(
        _through(layout.part(groups), (units, heard), (alpha, beta)),
        2.0 * _by_channel(inside, owner, len(zero)),
        zero.index_add(0, owner, slope),
    )


def _between_units(part: TorusPart, groups: slice) -> Couplings:
    """The couplings without the input, its node being left out of the count."""
    return {
        (i - 1, j - 1): block[part.layout.blocks(groups, i)]
        for (i, j), block in part.couplings.items()
        if i > 0
    }


def _differences(part: TorusPart, groups: slice, columns: Tensor) -> Tensor:
    """``B^H`` times the columns: the units' rows less what they hear."""
    layout = part.layout
    inputs = layout.rows(0).stop
    result = columns[:, inputs:].clone()
    for (i, j), block in part.couplings.items():
        own = block[layout.blocks(groups, i)]
        ancestors = len(columns) * layout.counts[j]
        rows = gathered(columns[:, layout.rows(i)], ancestors)
        heard = gathered(gathered(own, ancestors).mH @ rows, len(columns))
        target = layout.rows(j)
        result[:, target.start - inputs : target.stop - inputs] -= heard
    return result


def _wide(columns: Tensor, felt: Tensor) -> Tensor:
    return columns @ felt.to(columns.dtype)


def _summed(first: Tensor, second: Tensor) -> Tensor:
    """``sum over groups of Re(first * conj(second))``, entry by entry."""
    if not first.is_complex():
        return (first * second).sum(dim=0)
    products = torch.view_as_real(first.resolve_conj())
    products = products * torch.view_as_real(second.resolve_conj())
    return products.sum(dim=0).sum(dim=2)


def _by_channel(matrix: Tensor, owner: Tensor, count: int) -> Tensor:
    rows = matrix.new_zeros(count, len(matrix)).index_add(0, owner, matrix)
    return rows.new_zeros(count, count).index_add(1, owner, rows)


def _through(
    layout: Layout, reads: tuple[Tensor, Tensor], felt: tuple[Tensor, Tensor]
) -> Tensor:
    """``Re sum Phi^H beta + (B^H Phi)^H alpha`` over each channel's rows."""
    phi, heard = reads
    alpha, beta = felt
    inputs = layout.rows(0).stop
    parts = []
    for node in range(1, len(layout.widths)):
        rows = slice(layout.rows(node).start - inputs, layout.rows(node).stop - inputs)
        width = layout.widths[node]
        sides = (_channel_rows(m[:, rows], width) for m in (phi, heard, alpha, beta))
        own_phi, own_heard, own_alpha, own_beta = sides
        parts.append(own_phi.mT @ own_beta + own_heard.mT @ own_alpha)
    return torch.cat(parts)


def _channel_rows(rows: Tensor, width: int) -> Tensor:
    """``(M, rows of a channel, c)``, real."""
    if rows.is_complex():
        rows = torch.stack([rows.real, rows.imag])
    whole = rows.flatten(0, -2)
    count = len(whole) // width if width else 0
    return whole.view(count, width, whole.shape[1]).transpose(0, 1)
