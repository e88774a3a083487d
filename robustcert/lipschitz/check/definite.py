"""Positive definiteness, proved by a Cholesky factorisation in floating point.

If the factorisation of a matrix A of size n runs to its end, the computed factor L
satisfies ``|L L^H - A| <= g |L| |L^H|`` entry by entry, ``g = gamma(n + 1)``, whatever
the order of the sums. The diagonal of this says ``|L_i|^2 <= a_ii / (1 - g)``, so the
entries of ``L L^H - A`` are at most ``g / (1 - g) sqrt(a_ii a_jj)``, and their matrix
has a norm of at most ``g / (1 - g) trace A``. As ``L L^H`` has no negative eigenvalue,
``A >= -g / (1 - g) trace A`` in the order of positive definite matrices. A multiple of
the identity of that size is therefore taken away first.

Complex numbers: real and imaginary part of a sum of n products are sums of 2 n real
products, at most ``gamma(2 n) |x| |y|`` off each, so together at most
``gamma(2 sqrt(2) n)``. Two more roundings are granted for reciprocals of pivots.

References:
    Rump. Verification of positive definiteness. BIT 2006, Theorem 2.3.
    Higham. Accuracy and Stability of Numerical Algorithms. 2002, Theorem 10.3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from robustcert.lipschitz.rounding import gamma

Array = npt.NDArray[Any]


def definite_above(matrices: Array, margins: Array) -> bool:
    """Whether every matrix is proved to be at least ``diag(margins)``.

    Args:
        matrices: ``(F, n, n)``, hermitian, given by their lower triangles.
        margins: ``(n,)``, at least 0.

    Returns:
        ``False`` where there is no proof, which does not say that the opposite holds.
    """
    size = matrices.shape[-1]
    if size == 0:
        return True
    diagonals = np.einsum("fii->fi", matrices).real
    trace = float(np.abs(diagonals).sum(axis=1).max())
    if not (np.isfinite(matrices).all() and np.isfinite(margins).all()):
        return False
    lowered = matrices.copy()
    slack = trace * cholesky_error(size, complex_entries=np.iscomplexobj(matrices))
    places = np.arange(size)
    lowered[:, places, places] = diagonals - (margins + slack)
    try:
        factors = np.linalg.cholesky(lowered)
    except np.linalg.LinAlgError:
        return False
    return bool(np.isfinite(factors).all())


def cholesky_error(size: int, *, complex_entries: bool) -> float:
    """What a completed factorisation may hide, as a multiple of the trace.

    Eight roundings more than above pay for subtracting the margins, for the sum that
    gives the trace, and for ``1 / (1 - g)``.
    """
    return 1.01 * gamma((3 * size if complex_entries else size) + 16) + gamma(size)
