"""Noise: every coordinate is disturbed on its own, so tables can be too.

Draws are made on the CPU and moved, so that a seed means the same on every device.

Reference:
    Hendrycks, Dietterich. Benchmarking neural network robustness to common corruptions
    and perturbations. ICLR 2019. The kinds are theirs; the strengths are not.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def gaussian_noise(unit: Tensor, strength: float, generator: Generator) -> Tensor:
    """Add normal noise of standard deviation ``strength``."""
    noise = torch.randn(unit.shape, generator=generator, dtype=unit.dtype)
    return unit + strength * noise.to(unit.device)


def shot_noise(unit: Tensor, strength: float, generator: Generator) -> Tensor:
    """Count photons: Poisson draws of mean ``strength * value``, divided by it."""
    photons = torch.poisson(strength * unit.clamp(min=0.0).cpu(), generator=generator)
    return photons.to(unit.device) / strength


def impulse_noise(unit: Tensor, strength: float, generator: Generator) -> Tensor:
    """Set a share ``strength`` of the coordinates to 0 or 1, with even odds."""
    draw = torch.rand(unit.shape, generator=generator, dtype=unit.dtype).to(unit.device)
    salted = unit.masked_fill(draw < strength, 1.0)
    return salted.masked_fill(draw < strength / 2.0, 0.0)
