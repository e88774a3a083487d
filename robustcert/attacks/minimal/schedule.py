"""How step sizes shrink as a search goes along."""

from __future__ import annotations

import math


def cosine(first: float, last: float, share: float) -> float:
    """From ``first`` to ``last`` along half a cosine; ``share`` is in [0, 1]."""
    return last + 0.5 * (first - last) * (1.0 + math.cos(math.pi * share))
