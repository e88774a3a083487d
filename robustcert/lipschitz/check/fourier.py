"""Fourier sums on a torus, taken term by term.

A field u on a torus of sizes N has the unitary transform
``u^(f) = prod(N)^-1/2 sum_n u(n) exp(-2 pi i f.n / N)``. A convolution of stride s,
``y(o) = sum_t W[t] u(s o - p + d t)``, becomes on the torus N / s

    y^(g) = prod(s)^-1/2 sum_{f = g mod N/s} W^(f) u^(f),
    W^(f) = sum_t W[t] exp(2 pi i f.(d t - p) / N),

and a row ``sum_n r(n) u(n)`` is ``sum_f r^(f) u^(f)`` with
``r^(f) = prod(N)^-1/2 sum_n r(n) exp(2 pi i f.n / N)``. Fields are real, so what holds
at f holds at -f with conjugates: of the coarsest torus one of each pair is looked at.

Waves are off by 64 u at most: the angle by 3 u times 2 pi, cosine and sine by an ulp,
and the product of those of two dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from robustcert.errors import CertificateError
from robustcert.graph.layers import AveragePool, Conv, Shape
from robustcert.lipschitz.check.definite import Array
from robustcert.lipschitz.check.pull_back import numbers
from robustcert.lipschitz.check.windows import window_of

WAVES = 64
"""Error of a wave, in units of roundoff."""


@dataclass(frozen=True, slots=True, eq=False)
class Frequencies:
    """The frequencies of a torus that are looked at.

    Attributes:
        sizes: of the torus.
        at: ``(F, D)`` whole numbers.
        weights: ``(F,)``: 2 where the opposite frequency is left out, otherwise 1.
    """

    sizes: Shape
    at: Array
    weights: Array

    def __len__(self) -> int:
        return len(self.at)

    def parents(self, coarse: Frequencies) -> Array:
        """``(F,)`` for each frequency the place of its remainder in ``coarse``.

        Raises:
            CertificateError: the tori do not divide, or a remainder is not there.
        """
        if any(n % m for n, m in zip(self.sizes, coarse.sizes, strict=True)):
            raise CertificateError(
                f"tori of {self.sizes} and {coarse.sizes} do not fit"
            )
        table = np.full(coarse.sizes, -1)
        table[tuple(coarse.at.T)] = np.arange(len(coarse))
        places: Array = table[tuple((self.at % np.array(coarse.sizes)).T)]
        if (places < 0).any():
            raise CertificateError(
                f"tori of {self.sizes} and {coarse.sizes} do not fit"
            )
        return places


def frequencies(sizes: Shape, coarsest: Shape) -> Frequencies:
    """Those of the torus ``sizes`` whose remainders on ``coarsest`` are looked at."""
    every = np.array(list(product(*map(range, sizes)))).reshape(-1, len(sizes))
    grid = np.array(coarsest)
    order = np.cumprod([1, *coarsest[:0:-1]])[::-1]
    numbered, opposite = (every % grid) @ order, (-every % grid) @ order
    held = numbered <= opposite
    weights = np.where(numbered == opposite, 1.0, 2.0)
    return Frequencies(sizes, every[held], weights[held])


def symbol(layer: Conv | AveragePool, sizes: Shape, at: Array) -> Array:
    """The layer's Fourier sums at frequencies ``at`` of a torus of ``sizes``.

    Returns:
        ``(F, out, in)`` for a convolution, ``prod(s)^-1/2`` included; ``(F,)`` for an
        average pooling, which treats all channels alike.
    """
    window = window_of(layer)
    taps = [
        window.dilation[d] * np.arange(window.taps[d]) - window.before[d]
        for d in range(len(sizes))
    ]
    waves = _waves(taps, sizes, at) / math.sqrt(math.prod(layer.stride))
    if isinstance(layer, AveragePool):
        mean: Array = waves.sum(axis=1) / math.prod(layer.kernel)
        return mean
    kernel = whole_kernel(layer)
    sums = waves @ kernel.reshape(-1, kernel.shape[-1]).T
    return sums.reshape(len(at), *kernel.shape[:2])


def symbol_bound(layer: Conv | AveragePool) -> Array:
    """``(out, in)``, or a number, above the absolute value of every Fourier sum."""
    scale = 1.0 / math.sqrt(math.prod(layer.stride))
    if isinstance(layer, AveragePool):
        return np.array(scale)
    bound: Array = np.abs(whole_kernel(layer)).sum(axis=2) * scale
    return bound


def whole_kernel(layer: Conv) -> Array:
    """``(out, in, taps)``, with zeros between groups."""
    weight = numbers(layer.weight)
    flat = weight.reshape(*weight.shape[:2], -1)
    outputs, inputs = len(flat) // layer.groups, flat.shape[1]
    kernel = np.zeros((len(flat), inputs * layer.groups, flat.shape[2]))
    for group in range(layer.groups):
        rows = slice(group * outputs, (group + 1) * outputs)
        kernel[rows, group * inputs : (group + 1) * inputs] = flat[rows]
    return kernel


def transformed(rows: Array, sizes: Shape, at: Array) -> Array:
    """``(F, R, channels)``, the transform of rows ``(R, channels, *extents)``."""
    positions = [np.arange(extent) for extent in rows.shape[2:]]
    distinct, back = np.unique(at % np.array(sizes), axis=0, return_inverse=True)
    waves = _waves(positions, sizes, distinct) / math.sqrt(math.prod(sizes))
    flat = rows.reshape(*rows.shape[:2], -1)
    sums: Array = np.moveaxis(flat @ waves.T, -1, 0)
    return sums[back.reshape(-1)]


def _waves(places: Sequence[Array], sizes: Shape, at: Array) -> Array:
    """``exp(2 pi i f.n / N)`` for every n of the product of ``places``: ``(F, n)``."""
    total = np.ones((len(at), 1), dtype=np.complex128)
    for dim, along in enumerate(places):
        turns = np.outer(at[:, dim], along) % sizes[dim]
        waves = np.exp(2.0j * math.pi * (turns / sizes[dim]))
        total = (total[:, :, None] * waves[:, None, :]).reshape(len(at), -1)
    return total
