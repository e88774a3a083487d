"""Square's rows of the catalogue."""

from __future__ import annotations

from robustcert.attacks.interface import Attack
from robustcert.attacks.square.attack import Square

QUERIES = 5000
"""Of AutoAttack's Square."""

SHORT = 500
"""Of the short row, a rung for tiers that cannot pay for 5000 queries."""

ROWS: dict[str, Attack] = {
    row.name: row for row in (Square("square", QUERIES), Square("square-short", SHORT))
}
