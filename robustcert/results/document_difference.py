"""Where a document disagrees with itself.

A document repeats what follows from its own rows and bounds: the curve, the verdicts,
the best bounds. A reader derives them again and compares.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

_SHARE_SLACK = 1e-9
"""Intervals may differ by the last digits between mathematics libraries."""


def difference(given: Any, derived: Any, path: str) -> str | None:  # noqa: ANN401 - JSON
    """Where ``given`` says something else than ``derived``; unknown keys may stand."""
    if isinstance(derived, dict):
        keys = [key for key in derived if key in given]
        return _first(
            difference(given[key], derived[key], f"{path}.{key}".lstrip("."))
            for key in keys
        )
    if isinstance(derived, list):
        if len(given) != len(derived):
            return path
        pairs = enumerate(zip(given, derived, strict=True))
        return _first(difference(a, b, f"{path}[{i}]") for i, (a, b) in pairs)
    if isinstance(given, float) and isinstance(derived, float):
        close = math.isclose(given, derived, rel_tol=_SHARE_SLACK, abs_tol=_SHARE_SLACK)
        return None if close else path
    return None if given == derived else path


def _first(paths: Iterable[str | None]) -> str | None:
    return next((path for path in paths if path is not None), None)
