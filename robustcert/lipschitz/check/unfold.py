"""From frequencies to positions: every position of a channel becomes a unit."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from robustcert.graph.layers import Shape
from robustcert.lipschitz.check.covariance import Covariance
from robustcert.lipschitz.check.definite import Array
from robustcert.lipschitz.check.fourier import WAVES, Frequencies
from robustcert.lipschitz.check.sums import lifted
from robustcert.lipschitz.rounding import gamma


def unfolded(
    covariance: Covariance, frequencies: Frequencies, shapes: Sequence[Shape]
) -> Covariance:
    """The covariance of all valid positions, from that of the channels.

    The values at positions are ``prod(N)^-1/2 sum_f u^(f) exp(2 pi i f.m / N)``, so
    their covariance depends on the positions' difference.

    Args:
        covariance: on the torus.
        frequencies: of the torus.
        shapes: ``(channels, *extents)`` of the layers in the frontier, in order.
    """
    sizes = frequencies.sizes
    weights = frequencies.weights / math.prod(sizes)
    width = len(covariance.exponents)
    flat = covariance.matrices.reshape(len(frequencies), -1) * weights[:, None]
    waves = _waves_by_lag(frequencies)
    by_lag = (waves.real @ flat.real - waves.imag @ flat.imag).reshape(
        *sizes, width, width
    )
    positions, channels = _places(shapes, covariance.alive)
    lag = (positions[:, None] - positions[None]) % np.array(sizes)
    matrix = by_lag[(*np.moveaxis(lag, -1, 0), channels[:, None], channels)]
    loudness = np.abs(flat).sum(axis=0).reshape(width, width)
    counts = np.bincount(channels, minlength=width)
    rounds = gamma(3 * len(frequencies) + 4 * WAVES)
    more = 2.0 * rounds * (loudness @ counts)[channels]
    return Covariance(
        lifted(matrix[None], more),
        covariance.exponents[channels],
        _alive_units(shapes, covariance.alive),
    )


def _waves_by_lag(frequencies: Frequencies) -> Array:
    """``exp(2 pi i f.n / N)`` for all positions n of the torus: ``(n, F)``."""
    sizes = frequencies.sizes
    turns = np.zeros((math.prod(sizes), len(frequencies)))
    for dim, lags in enumerate(np.indices(sizes)):
        turns += (
            np.outer(lags.ravel(), frequencies.at[:, dim]) % sizes[dim] / sizes[dim]
        )
    waves: Array = np.exp(2.0j * math.pi * (turns % 1.0))
    return waves


def _alive_units(shapes: Sequence[Shape], alive: Array) -> Array:
    """``(N,)`` from channels that are alive: their positions are."""
    counts = [math.prod(shape[1:]) for shape in shapes for _ in range(shape[0])]
    return np.repeat(alive, counts)


def _places(shapes: Sequence[Shape], alive: Array) -> tuple[Array, Array]:
    """Position ``(n, D)`` and channel among those alive ``(n,)`` of every unit."""
    positions, channels, first = [], [], 0
    numbers = np.cumsum(alive) - 1
    for shape in shapes:
        grid = np.indices(shape).reshape(len(shape), -1).T
        own = first + grid[:, 0]
        kept = alive[own]
        positions.append(grid[kept, 1:])
        channels.append(numbers[own[kept]])
        first += shape[0]
    return np.concatenate(positions), np.concatenate(channels)
