"""A move from one frontier to the next, on the scale of the covariances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robustcert.lipschitz.check.covariance import (
    Covariance,
    half_exponents,
    times_powers,
)
from robustcert.lipschitz.check.definite import Array
from robustcert.lipschitz.rounding import gamma

_NOTHING = -(2**40)  # the exponent of 0
_TINY = 2.0**-400
"""Granted to each margin for numbers that scaling pushed out of the normal range."""


@dataclass(frozen=True, slots=True, eq=False)
class Move:
    """What leads from one frontier to the next, on the net's own scale.

    Attributes:
        carry_bound: ``(R, N)`` above the absolute values of C.
        spread_bound: ``(R, M)`` above the absolute values of B.
        acted: ``(M,)`` places of the activation's inputs in the frontier.
        multipliers: ``(M,)``, those of T divided by ``4**-exponent``.
        exponent: a whole number.
        roundings: by how many roundoffs of its bound an entry of C or B is off.
    """

    carry_bound: Array
    spread_bound: Array
    acted: Array
    multipliers: Array
    exponent: int
    roundings: int


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """A move on the scale of the covariances, without units that are not alive.

    With powers of two ``S`` so that ``S T S`` is about 1, Z's lower blocks are
    ``S R^H`` and ``S (T - N / 4) S``.

    Attributes:
        rows: ``(R,)`` which of the next frontier's units are alive.
        exponents: ``(r,)`` scale of these, to begin with.
        columns: ``(N,)`` which of the frontier's are.
        column_exponents: ``(n,)`` scale of these.
        places: ``(m,)`` the activation's inputs among the latter.
        units: ``(m,)`` which of the activation's units they are.
        roots: ``(m,)`` S.
        gains: ``(m,)`` T S.
        multipliers: ``(m,)`` S T S.
        carry_bound: ``(r, n)`` ``|C|``.
        spread_bound: ``(r, m)`` ``|B|``.
        largest: ``(n, n)`` ``|P|``.
        error: of Z's entries, relative to what bounds them.
    """

    rows: Array
    exponents: Array
    columns: Array
    column_exponents: Array
    places: Array
    units: Array
    roots: Array
    gains: Array
    multipliers: Array
    carry_bound: Array
    spread_bound: Array
    largest: Array
    error: float

    def margins(self, shift: Array) -> Array:
        """``(r + m,)`` row sums of G, the first r rows being scaled by ``2**-shift``.

        G is a sum of products, so only vectors are multiplied.
        """
        scale = np.ldexp(1.0, -shift)
        heard = self.largest[:, self.places]
        squares = self.carry_bound @ (self.largest @ (scale @ self.carry_bound))
        crossed = self.carry_bound @ (heard @ self.roots)
        upper = squares + 0.5 * crossed + self.spread_bound @ self.gains
        lower = 0.5 * self.roots * ((scale @ self.carry_bound) @ heard)
        lower += self.gains * (scale @ self.spread_bound)
        margins: Array = self.error * np.concatenate([scale * upper, lower]) + _TINY
        return margins


def passage(move: Move, covariance: Covariance) -> Passage:
    """The move on the scale of ``covariance``, with the error bounds of Z."""
    alive = covariance.alive
    heard = alive[move.acted]
    places = (np.cumsum(alive) - 1)[move.acted[heard]]
    columns = covariance.exponents
    acted = columns[places]
    own = -2 * (move.exponent + acted)
    multipliers = times_powers(move.multipliers[heard], own)
    halves = half_exponents(multipliers)
    carry, spread = move.carry_bound[:, alive], move.spread_bound[:, heard]
    rows: Array = np.concatenate([carry, spread], axis=1).max(axis=1, initial=0.0) > 0.0
    reach = np.maximum(
        _reach(carry[rows], columns), _reach(spread[rows], acted + halves)
    )
    reach = np.where(reach == _NOTHING, 0, reach)
    carry = times_powers(carry[rows], columns - reach[:, None])
    spread = times_powers(spread[rows], acted - reach[:, None])
    roots = np.ldexp(1.0, -halves)
    gains = times_powers(multipliers, -halves)
    products = 2 * (3 if np.iscomplexobj(covariance.matrices) else 1) * len(columns)
    return Passage(
        rows,
        reach,
        alive,
        columns,
        places,
        heard,
        roots,
        gains,
        times_powers(multipliers, -2 * halves),
        carry,
        spread,
        covariance.largest,
        2.0 * (2.0 * gamma(move.roundings) + gamma(products + 16)),
    )


def _reach(bounds: Array, columns: Array) -> Array:
    """``(R,)`` exponent of the largest entry of each row of ``bounds 2**columns``."""
    exponents = np.frexp(bounds)[1].astype(np.int64) + columns
    reach: Array = np.where(bounds > 0.0, exponents, _NOTHING).max(
        axis=1, initial=_NOTHING
    )
    return reach
