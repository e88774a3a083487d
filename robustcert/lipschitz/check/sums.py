"""Sums of covariances over frequencies that a map brings together.

Where strides fold frequencies into one, or the torus is left, the next covariance is a
sum of matrices, one a frequency. The rounding of the sum goes onto the diagonal: a
symmetric error matrix is at most the diagonal of its absolute row sums.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robustcert.lipschitz.check.definite import Array
from robustcert.lipschitz.check.fourier import Frequencies
from robustcert.lipschitz.rounding import gamma


@dataclass(frozen=True, slots=True, eq=False)
class Gathering:
    """Which matrices are added up.

    Attributes:
        parents: ``(F,)`` the number of the sum that each belongs to.
        weights: ``(F,)`` how often each counts; whole numbers.
        count: number of sums.
        real: whether the sums are real: a matrix that counts twice stands for its
            conjugate too, and all others are there with their conjugates or real.
    """

    parents: Array
    weights: Array
    count: int
    real: bool


def alone() -> Gathering:
    """One real matrix, which stays as it is."""
    return Gathering(np.zeros(1, dtype=np.int64), np.ones(1), 1, real=True)


def folded_into(fine: Frequencies, coarse: Frequencies) -> Gathering:
    """Frequencies with the same remainder on a coarser torus are added up."""
    parents = fine.parents(coarse)
    return Gathering(parents, np.ones(len(fine)), len(coarse), real=False)


def all_of(frequencies: Frequencies) -> Gathering:
    """Every frequency of the torus is added up, opposite ones included."""
    parents = np.zeros(len(frequencies), dtype=np.int64)
    return Gathering(parents, frequencies.weights, 1, real=True)


class Sum:
    """A running sum of hermitian matrices, and how far rounding may have led it off."""

    def __init__(self, gathering: Gathering, units: int) -> None:
        kind = np.float64 if gathering.real else np.complex128
        self._gathering = gathering
        self._total = np.zeros((gathering.count, units, units), dtype=kind)
        self._loudness = np.zeros((gathering.count, units))

    def add(self, chosen: slice, matrices: Array) -> None:
        """Add matrices ``(B, n, n)``, those of the chosen frequencies."""
        gathering = self._gathering
        parents, weights = gathering.parents[chosen], gathering.weights[chosen]
        terms = matrices.real if gathering.real else matrices
        weighted = terms * weights[:, None, None]
        np.add.at(self._total, parents, weighted)
        np.add.at(self._loudness, parents, np.abs(weighted).sum(axis=2))

    def result(self) -> Array:
        """``(count, n, n)`` hermitian matrices, at least the exact sums."""
        terms = int(np.bincount(self._gathering.parents).max())
        if terms == 1:
            return self._total
        more = 2.0 * gamma(terms + 4) * self._loudness.max(axis=0)
        return lifted(self._total, more)


def lifted(matrices: Array, more: Array) -> Array:
    """The hermitian parts of the matrices, with ``more`` ``(n,)`` on the diagonals."""
    units = np.arange(matrices.shape[-1])
    whole: Array = 0.5 * (matrices + matrices.conj().swapaxes(1, 2))
    whole[:, units, units] += more
    return whole
