"""The minimal attacks' rows of the catalogue."""

from __future__ import annotations

from robustcert.attacks.interface import Attack
from robustcert.attacks.minimal.attack import MinimalAttack
from robustcert.attacks.minimal.ddn import ddn
from robustcert.attacks.minimal.fab import fab_t
from robustcert.attacks.minimal.fmn import fmn
from robustcert.attacks.minimal.sight import TwinSight
from robustcert.attacks.minimal.walk import Route
from robustcert.results.norm import THREAT_NORMS, Norm

_TWIN = TwinSight(5.0, 1000.0)
"""From where dead units have a slope to where the twin is all but the model."""

_L2 = frozenset({Norm.L2})
_BOTH = frozenset(THREAT_NORMS)

ROWS: dict[str, Attack] = {
    row.name: row
    for row in (
        MinimalAttack("ddn", _L2, ddn, Route(100, 30)),
        MinimalAttack("ddn-smooth", _L2, ddn, Route(100, 30, _TWIN)),
        MinimalAttack("fmn", _BOTH, fmn, Route(100, 30)),
        MinimalAttack("fmn-smooth", _BOTH, fmn, Route(100, 30, _TWIN)),
        MinimalAttack("fab-t", _BOTH, fab_t, Route(100, 15)),
        MinimalAttack("fab-t-smooth", _BOTH, fab_t, Route(100, 15, _TWIN)),
    )
}
