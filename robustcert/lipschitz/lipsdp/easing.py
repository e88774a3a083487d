"""Multipliers moved off the border of what is feasible, at a known price.

The best multipliers often lie where ``T - N/4`` is all but singular, and there no
floating-point proof succeeds. The next covariance is ``B Q^-1 B^H`` with the form
``Q(u, v) = u^H P^-1 u - sum_i v_i (z_i - v_i) / T_i``. With ``(1 + delta) T`` in place
of T it becomes ``Q/(1 + delta)`` plus ``delta/(1 + delta)`` times ``u^H P^-1 u``: it is
definite by a margin, and at least ``Q/(1 + delta)``, so the next covariance is at most
``1 + delta`` times what it was. Everything scales with P and T alike; hence
``(1 + delta)^i T_i`` at stage i = 1, 2, ... raises the squared bound by at most
``(1 + delta)^m``.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

EASINGS = (0.0, 1e-9, 1e-7, 1e-5, 1e-3)
"""Deltas to be tried one after the other."""


def eased(multipliers: Sequence[Tensor], delta: float) -> list[Tensor]:
    """``(1 + delta)^i T_i`` for the stages i = 1, 2, ..."""
    return [
        multipliers[number] * (1.0 + delta) ** (number + 1)
        for number in range(len(multipliers))
    ]
