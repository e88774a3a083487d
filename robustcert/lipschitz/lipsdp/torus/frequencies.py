"""Frequencies of a torus, in an order that striding keeps in blocks.

Taking every s-th position folds the frequencies ``g + a N'`` of a torus of ``N = s N'``
onto g (aliasing). The fine frequencies over g stand next to each other.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustcert.graph.layers import Shape


def half(sizes: Shape) -> tuple[Tensor, Tensor]:
    """One of each pair ``f, -f``, and how many of the pair there are.

    Real values have conjugate Fourier coefficients at f and -f, so one is enough.

    Returns:
        ``(F, D)`` whole numbers and ``(F,)`` ones and twos.
    """
    every = _grid(sizes)
    extents = torch.tensor(sizes)
    opposite = number((-every) % extents, sizes)
    own = number(every, sizes)
    kept = own <= opposite
    counts = torch.where(own == opposite, 1.0, 2.0).to(torch.float64)
    return every[kept], counts[kept]


def aliases(coarse: Tensor, sizes: Shape, ratio: Shape) -> Tensor:
    """The fine frequencies ``(F A, D)`` over each of ``coarse`` ``(F, D)``.

    Args:
        coarse: whole numbers.
        sizes: of the coarse torus.
        ratio: how much larger the fine one is, one number a dimension.
    """
    shifts = _grid(ratio) * torch.tensor(sizes)
    return (coarse[:, None] + shifts).flatten(0, 1)


def number(frequencies: Tensor, sizes: Shape) -> Tensor:
    """Where each frequency ``(F, D)`` stands in a flattened Fourier transform."""
    total = torch.zeros(len(frequencies), dtype=torch.long)
    for dim, size in enumerate(sizes):
        total = total * size + frequencies[:, dim]
    return total


def _grid(sizes: Shape) -> Tensor:
    return torch.cartesian_prod(*map(torch.arange, sizes)).reshape(-1, len(sizes))
