"""The three answers of a gate."""

from __future__ import annotations

import enum


class Outcome(enum.Enum):
    """What a rule, or the whole gate, says. Not knowing is an answer of its own."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"

    @property
    def exit_code(self) -> int:
        """0 passed, 1 failed, 3 inconclusive."""
        return {Outcome.PASSED: 0, Outcome.FAILED: 1, Outcome.INCONCLUSIVE: 3}[self]
