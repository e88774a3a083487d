"""Every Lipschitz method by name, and which of them each effort runs."""

from __future__ import annotations

from robustcert.lipschitz.interface import (
    LowerMethod,
    UpperMethod,
    UpperSearch,
    quiet,
)
from robustcert.lipschitz.lower.activation_search import activation_search
from robustcert.lipschitz.lower.data_jacobian import data_jacobian
from robustcert.lipschitz.lower.jacobian_ascent import jacobian_ascent
from robustcert.lipschitz.lower.pair_ascent import pair_ascent
from robustcert.lipschitz.upper.eclipse_fast import eclipse_fast
from robustcert.lipschitz.upper.geolip import geolip
from robustcert.lipschitz.upper.liplt import liplt
from robustcert.lipschitz.upper.lipsdp import lipsdp, lipsdp_neuron
from robustcert.lipschitz.upper.lipsdp_box import lipsdp_box
from robustcert.lipschitz.upper.spectral_product import spectral_product
from robustcert.results.effort import Effort

LOWER_METHODS: dict[str, LowerMethod] = {
    "data_jacobian": data_jacobian,
    "pair_ascent": pair_ascent,
    "jacobian_ascent": jacobian_ascent,
    "activation_search": activation_search,
}

UPPER_SEARCHES: dict[str, UpperSearch] = {
    "lipsdp": lipsdp,
    "lipsdp_neuron": lipsdp_neuron,
}
"""Upper methods whose every iterate counts; rows of UPPER_METHODS too."""

UPPER_METHODS: dict[str, UpperMethod] = {
    "spectral_product": spectral_product,
    "liplt": liplt,
    "eclipse_fast": eclipse_fast,
    **{name: quiet(search) for name, search in UPPER_SEARCHES.items()},
    "lipsdp_box": lipsdp_box,
    "geolip": geolip,
}

_CHEAP = ("spectral_product", "liplt", "eclipse_fast")
_SEARCHED = ("data_jacobian", "pair_ascent", "jacobian_ascent", "activation_search")

EFFORTS: dict[Effort, tuple[str, ...]] = {
    Effort.FAST: (*_CHEAP, "data_jacobian", "pair_ascent"),
    Effort.TIGHT: (*_CHEAP, "lipsdp", "geolip", *_SEARCHED),
    Effort.MAX: (
        *_CHEAP,
        "lipsdp",
        "lipsdp_neuron",
        "lipsdp_box",
        "geolip",
        *_SEARCHED,
    ),
}
"""Names of the methods an effort runs, in their order; efforts also set budgets."""
