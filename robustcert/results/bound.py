"""Lipschitz bounds: what a witness proves, and what no pair of inputs exceeds.

A bound is about the map from inputs to logits, with the same lp norm on both sides:
``|f(x) - f(y)|_p <= L |x - y|_p``. Lower and upper bounds are different types, so that
a certificate cannot be made from a lower bound.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field

from robustcert.results.lipschitz_certificate import LipschitzCertificate
from robustcert.results.norm import Norm


class Scope(enum.Enum):
    """Where a Lipschitz statement holds, the widest first."""

    GLOBAL = "global"
    BOX = "box"
    BALL = "ball"

    def covers(self, other: Scope) -> bool:
        """Whether every pair of inputs in ``other`` is sure to lie in this scope too.

        A ball may leave the box, so the box covers only itself.
        """
        return self is Scope.GLOBAL or self is other


@dataclass(frozen=True, slots=True)
class Witness:
    """Two inputs, flattened, whose logits differ by ``ratio`` times their distance.

    ``first == second`` means a single point at which the Jacobian has norm ``ratio``.
    """

    first: tuple[float, ...]
    second: tuple[float, ...]
    ratio: float

    def __post_init__(self) -> None:
        if len(self.first) != len(self.second):
            raise ValueError("the two inputs of a witness differ in size")


@dataclass(frozen=True, slots=True)
class LowerBound:
    """Some pair of inputs in ``scope`` moves the logits at least this fast."""

    value: float
    norm: Norm
    method: str
    witness: Witness
    scope: Scope = Scope.GLOBAL
    seconds: float = 0.0

    def __post_init__(self) -> None:
        _check_value(self.value)
        if math.isinf(self.value):
            raise ValueError("a lower bound is finite: its witness is a pair of inputs")


@dataclass(frozen=True, slots=True)
class UpperBound:
    """No pair of inputs in ``scope`` moves the logits faster than ``value``.

    Attributes:
        value: rounded up; infinite where nothing is known.
        norm: of inputs and logits alike.
        method: its name in the registry.
        scope: where it holds.
        seconds: what it took.
        gap: how far, relatively, the value may lie above the best that the method's
            relaxation can give; ``None`` where that is not known.
        certificate: what a checker needs to prove the value again, if anything.
    """

    value: float
    norm: Norm
    method: str
    scope: Scope = Scope.GLOBAL
    seconds: float = 0.0
    gap: float | None = None
    certificate: LipschitzCertificate | None = field(
        default=None, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        _check_value(self.value)
        if self.gap is not None and not self.gap >= 0.0:
            raise ValueError(f"a gap is at least 0, not {self.gap}")


@dataclass(frozen=True, slots=True)
class RefusedBound:
    """A method gave no bound, and why."""

    method: str
    layer: str
    reason: str


@dataclass(frozen=True, slots=True)
class Bracket:
    """Everything found about one Lipschitz constant; the best of each side counts."""

    norm: Norm
    lowers: tuple[LowerBound, ...] = ()
    uppers: tuple[UpperBound, ...] = ()
    refused: tuple[RefusedBound, ...] = ()

    def __post_init__(self) -> None:
        bounds: tuple[LowerBound | UpperBound, ...] = (*self.lowers, *self.uppers)
        for bound in bounds:
            if bound.norm is not self.norm:
                raise ValueError(f"{bound.method} bounds {bound.norm}, not {self.norm}")

    @property
    def scope(self) -> Scope:
        """The widest scope with an upper bound: what ``lower`` and ``upper`` bracket.

        Without any upper bound it is global, where every lower bound holds.
        """
        scopes = {bound.scope for bound in self.uppers}
        return next((scope for scope in Scope if scope in scopes), Scope.GLOBAL)

    @property
    def lower(self) -> LowerBound | None:
        """The largest lower bound whose witness lies in :attr:`scope`."""
        within = [bound for bound in self.lowers if self.scope.covers(bound.scope)]
        return max(within, key=lambda bound: bound.value, default=None)

    @property
    def certificate(self) -> LipschitzCertificate | None:
        """The certificate of the smallest upper bound that has one."""
        proved = [bound for bound in self.uppers if bound.certificate is not None]
        best = min(proved, key=lambda bound: bound.value, default=None)
        return None if best is None else best.certificate

    @property
    def upper(self) -> UpperBound | None:
        """The smallest upper bound on all of :attr:`scope`.

        ``None`` where every method refused.
        """
        over = [bound for bound in self.uppers if bound.scope.covers(self.scope)]
        return min(over, key=lambda bound: bound.value, default=None)


def _check_value(value: float) -> None:
    if not value >= 0.0:
        raise ValueError(f"a Lipschitz bound is at least 0, not {value}")
