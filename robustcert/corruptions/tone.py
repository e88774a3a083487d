"""Changes of a picture's tones.

Reference:
    Hendrycks, Dietterich. Benchmarking neural network robustness to common corruptions
    and perturbations. ICLR 2019. The kinds are theirs; the strengths are not, and
    brightness is shifted in every channel rather than in the value of HSV, which only
    three channels have.
"""

from __future__ import annotations

from torch import Generator, Tensor


def contrast(unit: Tensor, strength: float, _: Generator) -> Tensor:
    """Pull each channel towards its mean; ``strength`` is the share that stays."""
    mean = unit.mean(dim=(-2, -1), keepdim=True)
    return mean + strength * (unit - mean)


def brightness(unit: Tensor, strength: float, _: Generator) -> Tensor:
    """Add ``strength`` everywhere."""
    return unit + strength
