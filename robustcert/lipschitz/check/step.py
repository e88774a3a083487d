"""One activation and the maps behind it: a covariance, and the proof that it holds.

Let ``u u^H <= P`` for the frontier's difference u, z the activation's inputs among u, v
its outputs, each with a slope in [0, 1], and T > 0 diagonal, so that
``Re v^H T^-1 (z - v) >= 0``: unit by unit, or summed over the positions of a channel
and hence, by Parseval, over all frequencies. The next frontier is ``y = C u + B v``.

**Lemma.** If the hermitian matrix ``Z = [[X - C P C^H, R], [R^H, T - N / 4]]`` with
``R = C P[:, z] / 2 + B T`` and ``N = P[z, z]`` has no negative eigenvalue, then
``y y^H <= X``.

*Proof.* Z is ``[[X, B T], [T B^H, T]] - J P J^H``, ``J = [C; -E / 2]``, ``z = E u``, so
``[[X, B T], [T B^H, T]] >= J u u^H J^H``. Test this with the vector (q, -s T^-1 v),
any q, and write ``a = q^H C u``, ``b = q^H B v``, ``c = v^H T^-1 z``:
``q^H X q - 2 Re(s b) + |s|^2 v^H T^-1 v >= |a + conj(s) c / 2|^2``. For the number
``s = 2 conj(b / c)`` (0 if c is 0; then v and b are 0 too) this is
``q^H X q >= |a + b|^2 + 4 |b|^2 (Re c - v^H T^-1 v) / |c|^2 >= |q^H y|^2``. QED

At a frequency f of a torus this is asked for by itself with a matrix X_f of its own;
where maps mix frequencies, the sum of the matrices Z_f, put side by side, is the
lemma's matrix for ``X = sum X_f``.

P, T and X are taken for exact floats, so rounding cannot pile up from step to step: X
may be *any* matrix for which the proof succeeds. What is rounded is Z. Its error is
bounded entry by entry, ``|dZ| <= G``; then ``dZ >= -diag(G 1)``, as a symmetric matrix
with a dominant diagonal has no negative eigenvalue. With ``|C|``, ``|B|`` bounds of the
maps, e their error in relation to these bounds, and ``gamma`` for two products of
matrices, G is ``(2 e + gamma) |C| |P| |C|^T`` and ``(e + gamma) (|C| |P| / 2 + |B| T)``
in its blocks, plus a roundoff of each entry. It is counted twice, which pays for terms
of second order and for rounding within G itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robustcert.lipschitz.check.covariance import half_exponents, times_powers
from robustcert.lipschitz.check.definite import (
    Array,
    cholesky_error,
    definite_above,
)
from robustcert.lipschitz.check.passage import Passage
from robustcert.lipschitz.rounding import UNIT

_SAFETY = (4.0, 64.0, 1024.0, 2.0**14, 2.0**18)
"""How far X is put above its computed value, as multiples of what is needed."""


def dominating(
    passage: Passage, carry: Array | None, spread: Array, covariance: Array
) -> Array | None:
    """A matrix X for each frequency, with a proof that the lemma holds.

    Args:
        passage: of the step.
        carry: ``(B, r, n)`` C on the passage's scale; ``None`` if it is zero.
        spread: ``(B, r, m)`` B on that scale.
        covariance: ``(B, n, n)``.

    Returns:
        ``(B, r, r)``, hermitian; ``None`` where no proof was found, as where T is not
        above N / 4.
    """
    blocks = _blocks(passage, carry, spread, covariance)
    for safety in _SAFETY:
        found = _candidate(passage, blocks, safety)
        if found is not None and _is_proved(passage, blocks, found):
            return found
    return None


@dataclass(frozen=True, slots=True, eq=False)
class _Blocks:
    """``C P C^H`` ``(B, r, r)``, ``R S`` ``(B, r, m)`` and ``S (T - N / 4) S``."""

    image: Array
    crossing: Array
    gap: Array


def _blocks(
    passage: Passage, carry: Array | None, spread: Array, covariance: Array
) -> _Blocks:
    places, roots = passage.places, passage.roots
    inputs = covariance[:, places[:, None], places]
    gap = -0.25 * inputs * roots[:, None] * roots
    units = np.arange(len(places))
    gap[:, units, units] += passage.multipliers
    crossing = spread * passage.gains
    if carry is None:
        shape = (*crossing.shape[:2], crossing.shape[1])
        return _Blocks(np.zeros(shape, dtype=crossing.dtype), crossing, gap)
    carried = carry @ covariance
    crossing = crossing + 0.5 * carried[:, :, places] * roots
    return _Blocks(carried @ _adjoint(carry), crossing, gap)


def _candidate(passage: Passage, blocks: _Blocks, safety: float) -> Array | None:
    """The computed Schur complement, and more; ``None`` where there is none."""
    rows, units = blocks.crossing.shape[1:]
    trace = rows + float(passage.multipliers.sum())
    needed = safety * trace * _cholesky_error(blocks)
    try:
        solved = np.linalg.solve(
            blocks.gap - needed * np.eye(units), _adjoint(blocks.crossing)
        )
    except np.linalg.LinAlgError:
        return None
    found: Array = blocks.image + blocks.crossing @ solved
    found = 0.5 * (found + _adjoint(found))
    if not np.isfinite(found).all():
        return None
    shift = _shift(found)
    more = needed + safety * passage.margins(shift)[:rows]
    places = np.arange(rows)
    found[:, places, places] += times_powers(more, 2 * shift)
    return found


def _is_proved(passage: Passage, blocks: _Blocks, found: Array) -> bool:
    """Whether Z, with rows and columns of X brought to about 1, is proved."""
    rows = found.shape[1]
    shift = _shift(found)
    both = -shift[:, None] - shift
    upper, image = times_powers(found, both), times_powers(blocks.image, both)
    crossing = times_powers(blocks.crossing, -shift[:, None])
    whole = np.block([[upper - image, crossing], [_adjoint(crossing), blocks.gap]])
    margins = passage.margins(shift)
    margins[:rows] += 4.0 * UNIT * (np.abs(upper) + np.abs(image)).sum(2).max(0)
    sizes = np.abs(np.einsum("fii->fi", blocks.gap)).max(axis=0)
    margins[rows:] += 8.0 * UNIT * (sizes + passage.multipliers)
    return definite_above(whole, margins)


def _shift(found: Array) -> Array:
    """``(r,)`` exponents that bring the diagonal of X to 1 at most."""
    diagonals = np.einsum("fii->fi", found).real
    return half_exponents(np.abs(diagonals).max(axis=0))


def _cholesky_error(blocks: _Blocks) -> float:
    rows, units = blocks.crossing.shape[1:]
    return cholesky_error(
        rows + units, complex_entries=np.iscomplexobj(blocks.crossing)
    )


def _adjoint(matrices: Array) -> Array:
    adjoint: Array = matrices.conj().swapaxes(-1, -2)
    return adjoint
