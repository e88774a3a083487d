"""How hard an evaluation tries."""

from __future__ import annotations

import enum


class Tier(enum.Enum):
    """How hard the attacks try."""

    QUICK = "quick"
    STANDARD = "standard"
    THOROUGH = "thorough"


class Effort(enum.Enum):
    """How hard the Lipschitz bounds and the certifiers try."""

    FAST = "fast"
    TIGHT = "tight"
    MAX = "max"


CERTIFY_SECONDS = {Effort.FAST: 1.0, Effort.TIGHT: 10.0, Effort.MAX: 60.0}
"""What certifiers may spend on a sample that cheap ones and attacks left open. A second
settles most of what a linear relaxation nearly proves; the tables of the field give 10
seconds or so; instances that are hard for all its tools are given a minute or more."""
