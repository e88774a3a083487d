"""Which attacks a tier runs, weakest and cheapest first."""

from __future__ import annotations

from robustcert.attacks.ascent.rows import LIKELY
from robustcert.attacks.rung import Rung
from robustcert.results.effort import Tier
from robustcert.results.norm import Norm

STRONG = frozenset(
    {
        "smooth-ascent",
        "targeted-ascent",
        "apgd-ce",
        "apgd-dlr",
        "apgd-margin",
        "apgd-t",
        "apgd-t-restarts",
        "apgd-t-short",
        "fab",
        "fab-t",
        "autoattack",
    }
)
"""Attacks that do not rest on one loss and one fixed schedule of steps on the model.
Without one of them a robust accuracy is a guess."""


_QUICK = (
    Rung("margin-ascent"),
    Rung("ce-ascent", 3),
    Rung("targeted-ascent-short", 2),
)

_ASCENTS = (
    Rung("margin-ascent"),
    Rung("smooth-ascent"),
    Rung("ce-ascent", 3),
    Rung("targeted-ascent", 3),
    Rung("targeted-ascent-wide", 1),
)

_STANDARD = (*_ASCENTS, Rung("square-short", 1))

_THOROUGH = (
    *(Rung(rung.attack) for rung in _ASCENTS),
    Rung("apgd-ce"),
    Rung("apgd-margin"),
    Rung("apgd-t"),
    Rung("fab-t"),
    Rung("square"),
)

_CLASSES = {
    # With two classes every loss is a function of one margin.
    "targeted-ascent-short": 3,
    "targeted-ascent": 3,
    "apgd-t": 3,
    # The likeliest others are taken before.
    "targeted-ascent-wide": LIKELY + 2,
}
"""How many classes a model has where an attack adds something; 2 for the others."""


def tier_rungs(
    tier: Tier,
    norm: Norm,  # noqa: ARG001 - every rung serves both; callers need not know
    classes: int,
) -> tuple[Rung, ...]:
    """The tier's attacks, in the order in which they are to run.

    An attack runs only on what those before it left, so cheap ones come first, and
    those that seldom find anything give up soon where they find nothing. Quick tells a
    broken evaluation from a working one. Standard is made to find what AutoAttack
    (Croce and Hein 2020) finds, and more where gradients are masked, at less than an
    eighth of its cost. Thorough never gives up and adds AutoAttack's own attacks: 100
    steps each of APGD on cross-entropy and every target (and on the margin), FAB-T,
    and 5000 queries of Square.

    Args:
        tier: how hard to try.
        norm: L2 or L-infinity.
        classes: K >= 2; attacks that add nothing with so few are left out.
    """
    rungs = {
        Tier.QUICK: _QUICK,
        Tier.STANDARD: _STANDARD,
        Tier.THOROUGH: _THOROUGH,
    }[tier]
    return tuple(rung for rung in rungs if classes >= _CLASSES.get(rung.attack, 2))


def tier_attacks(tier: Tier, norm: Norm, classes: int) -> tuple[str, ...]:
    """Names of :func:`tier_rungs`, for readers who need no patience."""
    return tuple(rung.attack for rung in tier_rungs(tier, norm, classes))
