"""Matrices of a program: dense, or by their entries where most of them are 0.

A unit of a convolution reads a small window, so that its row is 0 nearly everywhere.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

_DENSE = 0.125
"""From this share of entries that are not 0 on, a dense product is as fast."""

_SMALL = 2**14
"""Numbers in a matrix that is not worth the trouble."""


@dataclass(frozen=True, slots=True, eq=False)
class Sparse:
    """A matrix ``(n, m)`` by its entries, row by row, and its transpose likewise.

    Products with either are then sums of whole rows, over all forms at once.

    Attributes:
        matrix: ``(n, m)``, in compressed rows.
        turned: ``(m, n)``, its transpose in compressed rows.
    """

    matrix: Tensor
    turned: Tensor

    @property
    def shape(self) -> torch.Size:
        """``(n, m)``."""
        return self.matrix.shape

    def to(self, dtype: torch.dtype) -> Sparse:
        """The same in another dtype."""
        return Sparse(self.matrix.to(dtype), self.turned.to(dtype))


Weight = Tensor | Sparse
"""A matrix ``(n, m)``; 0 where nothing is stored."""


def compressed(weight: Weight) -> Weight:
    """By its entries if that is faster, else as it is."""
    if isinstance(weight, Sparse) or weight.numel() < _SMALL:
        return weight
    if int(weight.count_nonzero()) > _DENSE * weight.numel():
        return weight
    with warnings.catch_warnings():
        # torch calls the layout beta, once a process; products are all we ask of it.
        warnings.simplefilter("ignore", UserWarning)
        return Sparse(weight.to_sparse_csr(), weight.T.contiguous().to_sparse_csr())


def whole_matrix(weight: Weight) -> Tensor:
    """With its zeros."""
    if isinstance(weight, Sparse):
        return weight.matrix.to_dense()
    return weight


def times(rows: Tensor, weight: Weight) -> Tensor:
    """``rows @ weight``: ``(R, n)`` times ``(n, m)``; an entry sums n terms at most."""
    if isinstance(weight, Sparse):
        return (weight.turned @ rows.T).T
    return rows @ weight


def times_turned(rows: Tensor, weight: Weight) -> Tensor:
    """``rows @ weight.T``: ``(R, m)`` times ``(m, n)``; m terms at most."""
    if isinstance(weight, Sparse):
        return (weight.matrix @ rows.T).T
    return rows @ weight.T
