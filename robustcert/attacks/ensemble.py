"""Which attacks a tier runs, weakest and cheapest first."""

from __future__ import annotations

from robustcert.results.effort import Tier
from robustcert.results.norm import Norm

TARGETED_CLASSES = 4
"""The targeted DLR loss of APGD-T ranks this many logits."""

STRONG = frozenset(
    {
        "apgd-ce",
        "apgd-dlr",
        "apgd-t",
        "apgd-t-short",
        "fab",
        "fab-t",
        "fab-t-short",
        "autoattack",
    }
)
"""Attacks that choose their own step sizes. Without one of them a robust accuracy
rests on a guess of the step size."""


def tier_attacks(tier: Tier, norm: Norm, classes: int) -> tuple[str, ...]:
    """Names from the catalogue, in the order in which they are to run.

    An attack runs only on what those before it left, so cheap ones come first. Quick
    tells a broken evaluation from a working one; standard approaches AutoAttack at a
    fraction of its cost; thorough ends with AutoAttack (Croce and Hein 2020): 100
    steps each of APGD-CE, APGD-T and FAB-T, then 5000 queries of Square.

    Args:
        tier: how hard to try.
        norm: L2 or L-infinity.
        classes: K >= 2; below 4, DLR or margin losses stand in for targeted ones.
    """
    quick = ("fgsm", "pgd") if norm is Norm.LINF else ("pgd-l2",)
    if tier is Tier.QUICK:
        return quick
    losses = ("apgd-ce", *_beyond_cross_entropy(norm, classes))
    standard = (*quick[-1:], *losses, "fab-t-short", "square-short")
    if tier is Tier.STANDARD:
        return standard
    return (*standard, "autoattack")


def _beyond_cross_entropy(norm: Norm, classes: int) -> tuple[str, ...]:
    if classes >= TARGETED_CLASSES:
        return ("apgd-t-short",)
    if classes > 2:
        return ("apgd-dlr",)
    # With two classes every loss is a function of one margin; UPGD climbs it directly.
    return ("upgd",) if norm is Norm.LINF else ()
