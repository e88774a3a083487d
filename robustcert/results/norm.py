"""The norms in which perturbations and Lipschitz constants are measured."""

from __future__ import annotations

import enum
import math

from robustcert.errors import UnknownNameError


class Norm(enum.Enum):
    """An lp norm; the value is p."""

    L1 = 1.0
    L2 = 2.0
    LINF = math.inf

    @property
    def dual(self) -> Norm:
        """The norm q with 1/p + 1/q = 1."""
        return {Norm.L1: Norm.LINF, Norm.L2: Norm.L2, Norm.LINF: Norm.L1}[self]

    @property
    def word(self) -> str:
        """The norm's name in documents and on the command line."""
        return self.name.lower()


THREAT_NORMS: tuple[Norm, ...] = (Norm.L2, Norm.LINF)
"""The norms a threat model may have; L1 occurs as a dual norm only."""


def norm_from_word(word: str) -> Norm:
    """The threat norm called ``word``.

    Raises:
        UnknownNameError: ``word`` is neither ``l2`` nor ``linf``.
    """
    for norm in THREAT_NORMS:
        if norm.word == word.lower():
            return norm
    choices = ", ".join(norm.word for norm in THREAT_NORMS)
    raise UnknownNameError(f"no norm is called {word!r}; there are {choices}")
