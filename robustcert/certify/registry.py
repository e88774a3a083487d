"""The certifiers, in the order in which they are asked: cheapest first.

``local-lipschitz`` comes last, because it seldom gets further than ``alpha-crown``; it
serves where ``branch-and-bound`` refuses, on smooth nets.
"""

from __future__ import annotations

from robustcert.certify.branching.certifier import branch_and_bound
from robustcert.certify.crown.alpha import alpha_crown
from robustcert.certify.crown.method import crown
from robustcert.certify.interface import Preparation
from robustcert.certify.interval import interval
from robustcert.certify.lipschitz_margin import lipschitz_margin
from robustcert.certify.local_lipschitz import local_lipschitz
from robustcert.certify.milp.certifier import milp

CERTIFIERS: dict[str, Preparation] = {
    "lipschitz-margin": lipschitz_margin,
    "interval": interval,
    "crown": crown,
    "alpha-crown": alpha_crown,
    "branch-and-bound": branch_and_bound,
    "local-lipschitz": local_lipschitz,
    "milp": milp,
}

AT_ONCE = frozenset({"lipschitz-margin"})
"""Their radii cost no more than one verdict."""

FREE = frozenset({"lipschitz-margin", "interval"})
"""Their time does not count, so they look beyond every epsilon asked for."""

DEAR = frozenset({"alpha-crown", "local-lipschitz", "branch-and-bound", "milp"})
"""They are shown what cheaper ones and attacks have left open."""

TIMED = frozenset({"branch-and-bound", "milp"})
"""They stop when their time is up; the others take as long as they take."""

ORACLES = frozenset({"milp"})
"""They serve to check others, on tiny nets, and run where they are named alone."""
