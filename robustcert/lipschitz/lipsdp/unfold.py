"""From frequencies to positions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustcert.lipschitz.lipsdp.program import Unfolding
from robustcert.lipschitz.lipsdp.torus.frequencies import number


def unfolded(unfolding: Unfolding, covariance: Tensor) -> Tensor:
    """``(1, n, n)`` of all valid positions, from ``(F, c, c)`` by frequency.

    The covariance at a lag is the inverse Fourier transform: with the unitary one,
    ``u[m] = N^(-1/2) sum_f u^(f) exp(2 pi i f.m / N)``. Units are ordered channel
    first, as in a flattened image. Differentiable.
    """
    sizes = unfolding.grid
    held = number(unfolding.frequencies, sizes).to(covariance.device)
    weights = unfolding.weights.to(covariance.device)
    channels = covariance.shape[-1]
    whole = covariance.new_zeros(math.prod(sizes), channels, channels)
    whole = whole.index_copy(0, held, weights[:, None, None] * covariance)
    dims = tuple(range(len(sizes)))
    by_lag: Tensor = torch.fft.ifftn(
        whole.reshape(*sizes, channels, channels), dim=dims
    ).real
    blocks = by_lag.flatten(0, len(sizes) - 1)[_lags(unfolding).to(covariance.device)]
    units = channels * len(blocks)
    return blocks.permute(2, 0, 3, 1).reshape(1, units, units)


def _lags(unfolding: Unfolding) -> Tensor:
    """``(P, P)``: where the lag between two valid positions stands on the torus."""
    valid = torch.cartesian_prod(*map(torch.arange, unfolding.valid))
    valid = valid.reshape(-1, len(unfolding.valid))
    lags = (valid[:, None] - valid) % torch.tensor(unfolding.grid)
    return number(lags.flatten(0, 1), unfolding.grid).reshape(len(valid), -1)
