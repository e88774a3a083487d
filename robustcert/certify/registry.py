"""The certifiers, cheapest first."""

from __future__ import annotations

from robustcert.certify.interface import Preparation
from robustcert.certify.interval import interval
from robustcert.certify.lipschitz_margin import lipschitz_margin

CERTIFIERS: dict[str, Preparation] = {
    "lipschitz-margin": lipschitz_margin,
    "interval": interval,
}
