"""How hard an evaluation tries."""

from __future__ import annotations

import enum


class Tier(enum.Enum):
    """How hard the attacks try."""

    QUICK = "quick"
    STANDARD = "standard"
    THOROUGH = "thorough"


class Effort(enum.Enum):
    """How hard the Lipschitz bounds try."""

    FAST = "fast"
    TIGHT = "tight"
    MAX = "max"
