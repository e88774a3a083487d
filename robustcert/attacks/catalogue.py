"""The attacks by name: our own, and those of torchattacks.

Every row obeys the same laws because nothing it returns counts until it is verified.
Where both have an attack, the plain name is ours and the guest's begins with
``torchattacks-``; tiers run on our own rows alone.
"""

from __future__ import annotations

from robustcert.attacks import (
    apgd,
    ascent,
    escalation,
    expectation,
    minimal,
    square,
    straight_through,
    transfer,
)
from robustcert.attacks.guests import GUESTS
from robustcert.attacks.interface import Attack
from robustcert.attacks.ladder import Ladder
from robustcert.errors import UnknownNameError
from robustcert.results.norm import THREAT_NORMS

AUTOATTACK = ("apgd-ce", "apgd-t", "fab-t", "square")
"""The rungs of AutoAttack's standard version (Croce and Hein, ICML 2020)."""

_OWN: dict[str, Attack] = {
    **ascent.ROWS,
    **apgd.ROWS,
    **square.ROWS,
    **minimal.ROWS,
    **expectation.ROWS,
    **straight_through.ROWS,
    **transfer.ROWS,
    **escalation.ROWS,
}

ATTACKS: dict[str, Attack] = {
    **_OWN,
    "autoattack": Ladder(
        "autoattack", frozenset(THREAT_NORMS), tuple(_OWN[name] for name in AUTOATTACK)
    ),
    **GUESTS,
}


def attack_named(name: str) -> Attack:
    """The row called ``name``.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in ATTACKS:
        raise UnknownNameError(
            f"no attack is called {name!r}; there are {', '.join(ATTACKS)}"
        )
    return ATTACKS[name]
