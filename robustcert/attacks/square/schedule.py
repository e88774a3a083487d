"""How large a share of the input one query changes.

Reference:
    Andriushchenko, Croce, Flammarion, Hein. Square Attack: a query-efficient black-box
        adversarial attack via random search. ECCV 2020.
"""

from __future__ import annotations

from bisect import bisect_left

FIRST_SHARE = 0.8
"""Of the input in the first queries, as in AutoAttack."""

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries after which the share is halved, in a run of :data:`RUN`."""

RUN = 10_000


def share_at(query: int, queries: int) -> float:
    """The share that ``query`` (from 0) of a run of ``queries`` changes."""
    return FIRST_SHARE / 2.0 ** bisect_left(HALVINGS, query * RUN // queries)
