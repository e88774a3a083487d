"""APGD's rows of the catalogue."""

from __future__ import annotations

from robustcert.attacks.apgd.attack import Apgd
from robustcert.attacks.apgd.jitter import jitter
from robustcert.attacks.apgd.objectives import (
    margin,
    ratio,
    targeted_ratio,
    tempered_cross_entropy,
)
from robustcert.attacks.interface import Attack

STEPS = 100
"""Of AutoAttack's APGD."""

SHORT = 30
"""Of the short row, which finds most of what 100 steps find for a third of the cost."""

TARGETS = 9
"""AutoAttack tries this many of the likeliest other classes."""

ROWS: dict[str, Attack] = {
    row.name: row
    for row in (
        Apgd("apgd-ce", tempered_cross_entropy, STEPS),
        Apgd("apgd-margin", margin, STEPS),
        Apgd("apgd-dlr", ratio, STEPS),
        Apgd("apgd-t", targeted_ratio, STEPS, targets=TARGETS),
        Apgd("apgd-t-restarts", targeted_ratio, STEPS, targets=TARGETS, restarts=3),
        Apgd("apgd-t-short", targeted_ratio, SHORT, targets=TARGETS),
        Apgd("jitter", jitter, STEPS),
    )
}
