"""Blurs of pictures. Lengths are shares of the shorter side, so they fit any size.

Reference:
    Hendrycks, Dietterich. Benchmarking neural network robustness to common corruptions
    and perturbations. ICLR 2019. The kinds are theirs; the strengths are not.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

_TAILS = 3.0
"""Standard deviations on either side at which the Gaussian is cut off."""


def gaussian_blur(unit: Tensor, strength: float, _: Generator) -> Tensor:
    """Convolve with a Gaussian of standard deviation ``strength * shorter side``."""
    deviation = strength * min(unit.shape[-2:])
    reach = max(1, math.ceil(_TAILS * deviation))
    offsets = torch.arange(-reach, reach + 1, dtype=unit.dtype, device=unit.device)
    weights = torch.exp(-0.5 * (offsets / deviation).square())
    return _along_columns(_along_rows(unit, weights), weights)


def motion_blur(unit: Tensor, strength: float, _: Generator) -> Tensor:
    """Average along each row over a streak of length ``strength * shorter side``.

    The streak is centred; a pixel that it covers in part counts in part.
    """
    half = max(1.0, strength * min(unit.shape[-2:])) / 2.0
    reach = math.ceil(half - 0.5)
    offsets = torch.arange(-reach, reach + 1, dtype=unit.dtype, device=unit.device)
    weights = (half + 0.5 - offsets.abs()).clamp(0.0, 1.0)
    return _along_rows(unit, weights)


def _along_rows(pictures: Tensor, weights: Tensor) -> Tensor:
    """Each row convolved with odd, symmetric ``weights``; edges are repeated."""
    count, channels, height, width = pictures.shape
    reach = len(weights) // 2
    planes = pictures.reshape(count * channels, 1, height, width)
    padded = F.pad(planes, (reach, reach, 0, 0), mode="replicate")
    kernel = (weights / weights.sum()).reshape(1, 1, 1, -1)
    return F.conv2d(padded, kernel).reshape(pictures.shape)


def _along_columns(pictures: Tensor, weights: Tensor) -> Tensor:
    return _along_rows(pictures.transpose(-1, -2), weights).transpose(-1, -2)
