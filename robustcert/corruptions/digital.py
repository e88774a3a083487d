"""What storing and scaling do to pictures.

Reference:
    Hendrycks, Dietterich. Benchmarking neural network robustness to common corruptions
    and perturbations. ICLR 2019. The kinds are theirs; the strengths are not, and the
    block quantisation is JPEG's idea without its colour space and tables.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

BLOCK = 8


def block_quantisation(unit: Tensor, strength: float, _: Generator) -> Tensor:
    """Round the cosine coefficients of 8 x 8 blocks to multiples of a step.

    The step of the coefficient (u, v) is ``strength * (1 + u + v)``: fine for means,
    coarse for detail. Sides are filled up to multiples of 8 by repeating the edge.
    """
    height, width = unit.shape[-2:]
    planes = unit.reshape(-1, 1, height, width)
    fill = (0, -width % BLOCK, 0, -height % BLOCK)
    blocks = _cut(F.pad(planes, fill, mode="replicate"))
    cosines = cosine_matrix(unit.dtype, unit.device)
    order = torch.arange(BLOCK, dtype=unit.dtype, device=unit.device)
    steps = strength * (1.0 + order[:, None] + order[None, :])
    kept = (cosines @ blocks @ cosines.T / steps).round() * steps
    whole = _joined(cosines.T @ kept @ cosines)
    return whole[..., :height, :width].reshape(unit.shape)


def pixelate(unit: Tensor, strength: float, _: Generator) -> Tensor:
    """Average over a grid with a share ``strength`` of the pixels a side, and back."""
    height, width = unit.shape[-2:]
    coarse = (_share(height, strength), _share(width, strength))
    cells = F.interpolate(unit, size=coarse, mode="area")
    return F.interpolate(cells, size=(height, width), mode="nearest")


def cosine_matrix(dtype: torch.dtype, device: torch.device) -> Tensor:
    """The orthogonal ``(8, 8)`` matrix of the discrete cosine transform (DCT-II)."""
    place = torch.arange(BLOCK, dtype=torch.float64)
    angles = math.pi / BLOCK * place[:, None] * (place[None, :] + 0.5)
    matrix = torch.cos(angles) * math.sqrt(2.0 / BLOCK)
    matrix[0] /= math.sqrt(2.0)
    return matrix.to(dtype=dtype, device=device)


def _cut(planes: Tensor) -> Tensor:
    """``(P, 1, 8a, 8b)`` planes as ``(P, a, b, 8, 8)`` blocks."""
    count, _, height, width = planes.shape
    grid = planes.reshape(count, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    return grid.transpose(2, 3)


def _joined(blocks: Tensor) -> Tensor:
    """The inverse of :func:`_cut`, without the axis of one channel."""
    count, rows, columns = blocks.shape[:3]
    return blocks.transpose(2, 3).reshape(count, rows * BLOCK, columns * BLOCK)


def _share(side: int, share: float) -> int:
    return max(1, round(share * side))
