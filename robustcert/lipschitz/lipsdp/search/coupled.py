"""Hermitian matrices whose blocks are coupled through a tree of frequencies.

Rows and columns are *nodes* in order: node i has ``F_i`` blocks of ``M_i`` units. The
number of blocks falls from node to node, and block f of node i meets only its ancestor
``f // (F_i / F_j)`` of a later node j. So the coupling of i and j is stored as
``(F_i, M_i, M_j)``, and everything under one of the last ``groups`` blocks is a matrix
of its own. Elimination in the nodes' order keeps this form: eliminating a block couples
its ancestors, which are ancestors of each other. Without a torus each node is one
block, and this is a block factorisation that leaves out the zeros between stages.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Couplings = dict[tuple[int, int], Tensor]
"""``(F_i, M_i, M_j)`` for nodes ``i < j``; pairs that never meet are left out."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Sizes of the nodes.

    Attributes:
        groups: number of independent matrices.
        counts: blocks of each node in one group.
        widths: units in one block of each node.
    """

    groups: int
    counts: tuple[int, ...]
    widths: tuple[int, ...]

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where each node begins in its group's rows; then the number of rows."""
        begins = [0]
        for count, width in zip(self.counts, self.widths, strict=True):
            begins.append(begins[-1] + count * width)
        return tuple(begins)

    @property
    def size(self) -> int:
        """Rows of one group."""
        return self.offsets[-1]

    def rows(self, node: int) -> slice:
        """The node's rows in its group."""
        begins = self.offsets
        return slice(begins[node], begins[node + 1])

    def blocks(self, groups: slice, node: int) -> slice:
        """The node's blocks in these groups."""
        count = self.counts[node]
        return slice(groups.start * count, groups.stop * count)

    def without_first(self) -> Layout:
        """The layout of all nodes but the first."""
        return Layout(self.groups, self.counts[1:], self.widths[1:])

    def part(self, groups: slice) -> Layout:
        """The layout of these groups alone."""
        return Layout(groups.stop - groups.start, self.counts, self.widths)


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """``K = (I + U)^H diag(S) (I + U)``, U strictly above the blocks' diagonal.

    Attributes:
        layout: of the nodes.
        roots: Cholesky factors ``(F_i, M_i, M_i)`` of the Schur complements S.
        above: the blocks ``S_i^-1 K_ij`` of U.
    """

    layout: Layout
    roots: tuple[Tensor, ...]
    above: Couplings

    def logdets(self) -> Tensor:
        """``(groups,)`` log determinants."""
        total = self.roots[0].new_zeros(self.layout.groups).real
        for root in self.roots:
            pivots = root.diagonal(dim1=1, dim2=2).real.log().sum(dim=1)
            total = total + 2.0 * pivots.reshape(self.layout.groups, -1).sum(dim=1)
        return total

    def part(self, groups: slice) -> Factor:
        """The factor of these groups alone."""
        layout = self.layout
        roots = (r[layout.blocks(groups, i)] for i, r in enumerate(self.roots))
        above = {
            (i, j): block[layout.blocks(groups, i)]
            for (i, j), block in self.above.items()
        }
        return Factor(layout.part(groups), tuple(roots), above)


def factored(
    layout: Layout, diagonal: list[Tensor], couplings: Couplings
) -> Factor | None:
    """Elimination in the nodes' order; ``None`` where K is not positive definite.

    Args:
        layout: of the nodes.
        diagonal: ``(F_i, M_i, M_i)``, the blocks on K's diagonal.
        couplings: those above it.
    """
    pending, left = list(diagonal), dict(couplings)
    roots: list[Tensor] = []
    above: Couplings = {}
    for node in range(len(layout.widths)):
        root, info = torch.linalg.cholesky_ex(pending[node])
        if bool((info > 0).any()):
            return None
        roots.append(root)
        met = sorted(j for i, j in left if i == node)
        for j in met:
            above[node, j] = torch.cholesky_solve(left[node, j], root)
        for place, j in enumerate(met):
            block = gathered(left[node, j], pending[j].shape[0]).mH
            for k in met[place:]:
                change = block @ gathered(above[node, k], pending[j].shape[0])
                if j == k:
                    pending[j] = pending[j] - change
                else:
                    left[j, k] = left[j, k] - change if (j, k) in left else -change
    return Factor(layout, tuple(roots), above)


def gathered(block: Tensor, ancestors: int) -> Tensor:
    """``(F_j, F_i / F_j * M_i, c)`` from ``(F_i, M_i, c)``: children side by side."""
    blocks, rows, columns = block.shape
    return block.reshape(ancestors, blocks * rows // ancestors, columns)


def halfway(factor: Factor, right: dict[int, Tensor]) -> dict[int, Tensor]:
    """Forward substitution, ``(I + U)^H e = R``.

    Args:
        factor: of K.
        right: ``(F_i, M_i, h)``; nodes without an entry are 0.
    """
    found = dict(right)
    for (i, j), block in sorted(factor.above.items()):
        if i in found:
            ancestors = factor.roots[j].shape[0]
            change = gathered(block, ancestors).mH @ gathered(found[i], ancestors)
            found[j] = found[j] - change if j in found else -change
    return found


def gram(factor: Factor, half: dict[int, Tensor]) -> Tensor:
    """``sum over groups of Re R^H K^-1 R``, from :func:`halfway`: ``(h, h)``."""
    parts = []
    for node, entry in half.items():
        solved = torch.linalg.solve_triangular(factor.roots[node], entry, upper=False)
        parts.append(stacked_real(solved))
    whole = torch.cat(parts)
    return whole.T @ whole


def stacked_real(columns: Tensor) -> Tensor:
    """``(rows, h)`` real, whose Gram matrix is the real part of the complex one."""
    if columns.is_complex():
        columns = torch.stack([columns.real, columns.imag])
    return columns.flatten(0, -2)


def solution(factor: Factor, half: dict[int, Tensor]) -> Tensor:
    """``K^-1 R`` by group, ``(groups, size, h)``, from :func:`halfway`."""
    layout = factor.layout
    parts: dict[int, Tensor] = {}
    columns = next(iter(half.values())).shape[-1]
    for node in reversed(range(len(layout.widths))):
        root = factor.roots[node]
        entry = half.get(node)
        if entry is None:
            value = root.new_zeros(root.shape[0], layout.widths[node], columns)
        else:
            value = torch.cholesky_solve(entry, root)
        for (i, j), block in factor.above.items():
            if i == node:
                ancestors = factor.roots[j].shape[0]
                change = gathered(block, ancestors) @ parts[j]
                value = value - change.reshape(value.shape)
        parts[node] = value
    ordered = [gathered(parts[node], layout.groups) for node in sorted(parts)]
    return torch.cat(ordered, dim=1)


def inverse(factor: Factor, first: int) -> Tensor:
    """``K^-1`` by group at the nodes from ``first`` on: ``(groups, size', size')``.

    Reference:
        Takahashi, Fagan, Chen. Formation of a sparse bus impedance matrix. 1973.
    """
    layout = factor.layout
    begin = layout.offsets[first]
    size = layout.size - begin
    whole = factor.roots[0].new_zeros(layout.groups, size, size)
    for node in reversed(range(first, len(layout.widths))):
        place = layout.rows(node)
        rows = slice(place.start - begin, place.stop - begin)
        row = whole.new_zeros(layout.groups, rows.stop - rows.start, size - rows.stop)
        later = [j for i, j in factor.above if i == node]
        places = [
            slice(r.start - begin, r.stop - begin) for r in map(layout.rows, later)
        ]
        for j, columns in zip(later, places, strict=True):
            row -= _times(factor, (node, j), whole[:, columns, rows.stop :])
        whole[:, rows, rows.stop :] = row
        whole[:, rows.stop :, rows] = row.mH
        corner = whole[:, rows, rows]
        for j, columns in zip(later, places, strict=True):
            corner -= _times(factor, (node, j), whole[:, columns, rows])
        own = torch.cholesky_inverse(factor.roots[node])
        shape = (layout.groups, layout.counts[node], *own.shape[1:])
        on_diagonal(corner, layout.counts[node]).add_(own.view(shape))
    return whole


def on_diagonal(block: Tensor, count: int) -> Tensor:
    """A view of the square blocks on the diagonal, ``(groups, count, M, M)``."""
    groups, width = block.shape[0], block.shape[1] // count
    split = block.view(groups, count, width, count, width)
    return split.diagonal(dim1=1, dim2=3).movedim(-1, 1)


def _times(factor: Factor, pair: tuple[int, int], rows: Tensor) -> Tensor:
    """``U_ij`` times rows of node j, ``(groups, F_j M_j / groups, c)``."""
    ancestors = factor.roots[pair[1]].shape[0]
    block = gathered(factor.above[pair], ancestors)
    result = block @ gathered(rows, ancestors)
    return gathered(result, factor.layout.groups)
