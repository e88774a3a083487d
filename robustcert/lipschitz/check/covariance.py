"""What is claimed about the values between two activations, and its scaling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robustcert.errors import CertificateError
from robustcert.lipschitz.check.definite import Array

_FARTHEST = 2040  # binary exponents beyond which a float64 is 0 or infinite anyway


@dataclass(frozen=True, slots=True, eq=False)
class Covariance:
    """An ellipsoid around the difference u of two inputs' values at a frontier.

    For inputs at distance 1 at most, ``u u^H <= D P D`` in the order of positive
    definite matrices, at every frequency, D being ``diag(2**exponents)``. P is exactly
    what its floats say, and its diagonal is about 1 at most.

    Attributes:
        matrices: ``(F, n, n)`` hermitian, for the units that are alive.
        exponents: ``(n,)`` whole numbers.
        alive: ``(N,)`` which of the frontier's units these are; the others' differences
            are exactly zero.
    """

    matrices: Array
    exponents: Array
    alive: Array

    @property
    def largest(self) -> Array:
        """``(n, n)``, the largest absolute value of each entry."""
        largest: Array = np.abs(self.matrices).max(axis=0)
        return largest


def whole_input(units: int, frequencies: int, dtype: type) -> Covariance:
    """The ball of inputs: the identity at every frequency."""
    one: Array = np.broadcast_to(
        np.eye(units, dtype=dtype), (frequencies, units, units)
    )
    return Covariance(one, np.zeros(units, dtype=np.int64), np.ones(units, dtype=bool))


def rescaled(covariance: Covariance) -> Covariance:
    """The same claim with a diagonal of 1 at most, by powers of two."""
    diagonals = np.einsum("fii->fi", covariance.matrices).real
    shift = half_exponents(diagonals.max(axis=0, initial=0.0))
    return Covariance(
        times_powers(covariance.matrices, -shift[:, None] - shift),
        covariance.exponents + shift,
        covariance.alive,
    )


def times_powers(values: Array, exponents: Array) -> Array:
    """``values * 2**exponents``, exact where the result is a normal number.

    In two steps, as ``2**exponents`` itself may leave the range of float64.
    """
    within = np.clip(exponents, -_FARTHEST, _FARTHEST)
    first = within // 2
    scaled: Array = values * np.ldexp(1.0, first) * np.ldexp(1.0, within - first)
    return scaled


def exponents_of(values: Array) -> Array:
    """``(n,)`` k with ``2**k`` about ``values``; 0 where a value is 0.

    Raises:
        CertificateError: a value is NaN or infinite.
    """
    if not np.isfinite(values).all():
        raise CertificateError("the covariances leave the range of float64")
    return np.where(values > 0.0, np.frexp(values)[1], 0).astype(np.int64)


def half_exponents(squares: Array) -> Array:
    """``(n,)`` k with ``4**k >= squares``, close."""
    return -(-exponents_of(squares) // 2)
