"""Every Lipschitz method by name, and which of them each effort runs."""

from __future__ import annotations

from robustcert.lipschitz.interface import LowerMethod, UpperMethod
from robustcert.lipschitz.lower.data_jacobian import data_jacobian
from robustcert.lipschitz.lower.pair_ascent import pair_ascent
from robustcert.lipschitz.upper.spectral_product import spectral_product
from robustcert.results.effort import Effort

LOWER_METHODS: dict[str, LowerMethod] = {
    "data_jacobian": data_jacobian,
    "pair_ascent": pair_ascent,
}

UPPER_METHODS: dict[str, UpperMethod] = {
    "spectral_product": spectral_product,
}

EFFORTS: dict[Effort, tuple[str, ...]] = {
    Effort.FAST: ("spectral_product", "data_jacobian", "pair_ascent"),
    Effort.TIGHT: ("spectral_product", "data_jacobian", "pair_ascent"),
    Effort.MAX: ("spectral_product", "data_jacobian", "pair_ascent"),
}
"""Names of the methods an effort runs, in their order; efforts also set budgets."""
