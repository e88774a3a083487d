"""The last step: the root of a covariance's largest eigenvalue, rounded up."""

from __future__ import annotations

import math

import numpy as np

from robustcert.errors import CertificateError
from robustcert.lipschitz.check.covariance import Covariance, times_powers
from robustcert.lipschitz.check.definite import Array, definite_above
from robustcert.lipschitz.rounding import UNIT, up

_TRIED = 24
_LEAST = 2.0**-100
_TINY = 2.0**-400  # for entries that scaling pushed out of the normal range
_WIDEST = 900  # binary exponents of results


def largest_root(covariance: Covariance) -> float:
    """L with ``|u| <= L`` for every u in the ellipsoid; 0 where no unit is alive.

    The eigenvalue solver proposes ``L^2``, and a Cholesky factorisation of
    ``L^2 I - P`` proves it.

    Args:
        covariance: with one real matrix.

    Raises:
        CertificateError: nothing finite can be proved.
    """
    if not covariance.alive.any():
        return 0.0
    scale = int(covariance.exponents.max())
    shift = covariance.exponents - scale
    matrix = times_powers(covariance.matrices, shift[:, None] + shift)
    size = matrix.shape[-1]
    square = _proposal(matrix[0])
    step = 4.0 * size * (size + 16) * UNIT
    for _ in range(_TRIED):
        square = up(square * (1.0 + step))
        margins = np.full(size, 4.0 * UNIT * square + _TINY)
        if definite_above(square * np.eye(size) - matrix, margins):
            return _root(square, scale)
        step *= 2.0
    raise CertificateError("the largest eigenvalue at the outputs cannot be bounded")


def _proposal(matrix: Array) -> float:
    """The computed eigenvalue, and at least what is sure to be proved above zero."""
    if not np.isfinite(matrix).all():
        raise CertificateError("the covariances leave the range of float64")
    return max(float(np.linalg.eigvalsh(matrix)[-1]), _LEAST)


def _root(square: float, scale: int) -> float:
    """``2**scale sqrt(square)``, rounded up."""
    if scale > _WIDEST:
        raise CertificateError("the bound is beyond the range of float64")
    return math.ldexp(up(up(math.sqrt(square))), max(scale, -_WIDEST))
