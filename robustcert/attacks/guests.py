"""The attacks of torchattacks by name.

Sparse attacks (``sparsefool``, ``jsma``, ``onepixel``, ``pixle``) bound the number of
pixels, not their size: they are rows for L2, where moving what they return into the
ball often leaves an adversarial example. Left out: VANILA (returns the sample), LGV and
MultiAttack (wrappers), and torchattacks' own AutoAttack, which takes 10 steps where the
original takes 100; the ladder ``torchattacks-autoattack`` takes 100.
"""

from __future__ import annotations

from typing import Any

from robustcert.attacks import settings
from robustcert.attacks.guest_model import from_zero
from robustcert.attacks.interface import Attack
from robustcert.attacks.ladder import Ladder
from robustcert.attacks.requirements import (
    at_least_classes,
    at_most_coordinates,
    picture,
    several_logits,
    square_picture,
    three_channels,
)
from robustcert.attacks.torchattacks_adapter import GuestAttack
from robustcert.results.norm import Norm

_L2 = frozenset({Norm.L2})
_LINF = frozenset({Norm.LINF})
_BOTH = _L2 | _LINF

_INSET = 1e-2
"""CW's tanh has slope 0 at the box's faces; this far away it moves."""

_CW_CONSTANTS = (1.0, 10.0, 100.0)
"""The guest has no search for CW's c: small ones give small perturbations, large ones
take what is left."""

_SALIENCY_SIZE = 4096
"""JSMA keeps matrices of all pairs of coordinates: 64 MiB each at this size."""


def _cw(constant: float) -> GuestAttack:
    return GuestAttack(
        f"cw with c={constant:g}",
        "CW",
        _L2,
        settings.fixed(c=constant, steps=200, lr=0.02),
        minimal=True,
        logit_map=from_zero,
        inset=_INSET,
    )


def _target_runner_up(guest: Any) -> None:  # noqa: ANN401 - torchattacks has no types
    """Aim at the likeliest other class; JSMA's default knows ten classes only."""

    def runner_up(inputs: Any, labels: Any) -> Any:  # noqa: ANN401 - as above
        logits = guest.get_logits(inputs).detach()
        return logits.scatter(1, labels[:, None], -float("inf")).argmax(dim=1)

    guest.set_mode_targeted_by_function(runner_up, quiet=True)


_APGD_CE = GuestAttack(
    "torchattacks-apgd-ce", "APGD", _BOTH, settings.adaptive_steps(100)
)
_APGD_T = GuestAttack(
    "torchattacks-apgd-t",
    "APGDT",
    _BOTH,
    settings.targeted_steps(100),
    requirements=(at_least_classes(4),),
)
# FAB-T stops at the first class it reaches within epsilon, so it is no minimal attack.
_FAB_T = GuestAttack(
    "torchattacks-fab-t",
    "FAB",
    _BOTH,
    settings.targeted_steps(100, multi_targeted=True),
)
_SQUARE = GuestAttack("torchattacks-square", "Square", _BOTH, settings.queries(5000))

GUESTS: dict[str, Attack] = {
    "fgsm": GuestAttack("fgsm", "FGSM", _LINF, settings.single_step),
    "ffgsm": GuestAttack("ffgsm", "FFGSM", _LINF, settings.random_single_step),
    "rfgsm": GuestAttack("rfgsm", "RFGSM", _LINF, settings.fixed_steps(10)),
    "bim": GuestAttack("bim", "BIM", _LINF, settings.fixed_steps(10)),
    "pgd": GuestAttack("pgd", "PGD", _LINF, settings.fixed_steps(40)),
    "pgd-l2": GuestAttack("pgd-l2", "PGDL2", _L2, settings.fixed_steps(40)),
    "eotpgd": GuestAttack(
        "eotpgd", "EOTPGD", _LINF, settings.fixed_steps(20, eot_iter=5)
    ),
    "tpgd": GuestAttack("tpgd", "TPGD", _LINF, settings.fixed_steps(20)),
    "upgd": GuestAttack(
        "upgd",
        "UPGD",
        _LINF,
        settings.fixed_steps(40, random_start=True, loss="margin"),
        logit_map=from_zero,
    ),
    "mifgsm": GuestAttack("mifgsm", "MIFGSM", _LINF, settings.fixed_steps(20)),
    "nifgsm": GuestAttack("nifgsm", "NIFGSM", _LINF, settings.fixed_steps(20)),
    "sinifgsm": GuestAttack("sinifgsm", "SINIFGSM", _LINF, settings.fixed_steps(10)),
    "vmifgsm": GuestAttack("vmifgsm", "VMIFGSM", _LINF, settings.fixed_steps(10)),
    "vnifgsm": GuestAttack("vnifgsm", "VNIFGSM", _LINF, settings.fixed_steps(10)),
    "difgsm": GuestAttack(
        "difgsm",
        "DIFGSM",
        _LINF,
        settings.fixed_steps(20),
        requirements=(square_picture,),
    ),
    "tifgsm": GuestAttack(
        "tifgsm",
        "TIFGSM",
        _LINF,
        settings.fixed_steps(20),
        requirements=(square_picture, three_channels),
    ),
    "pifgsm": GuestAttack(
        "pifgsm",
        "PIFGSM",
        _LINF,
        settings.momentum_projection(10),
        requirements=(three_channels,),
    ),
    "pifgsmpp": GuestAttack(
        "pifgsmpp",
        "PIFGSMPP",
        _LINF,
        settings.momentum_projection(10),
        requirements=(three_channels,),
    ),
    "torchattacks-jitter": GuestAttack(
        "torchattacks-jitter",
        "Jitter",
        _LINF,
        settings.fixed_steps(40),
        requirements=(several_logits,),
    ),
    "pgdrs": GuestAttack("pgdrs", "PGDRS", _LINF, settings.noisy_steps(20)),
    "pgdrs-l2": GuestAttack("pgdrs-l2", "PGDRSL2", _L2, settings.noisy_steps(20)),
    "torchattacks-apgd-ce": _APGD_CE,
    "torchattacks-apgd-dlr": GuestAttack(
        "torchattacks-apgd-dlr",
        "APGD",
        _BOTH,
        settings.adaptive_steps(100, loss="dlr"),
        requirements=(at_least_classes(3),),
    ),
    "torchattacks-apgd-t": _APGD_T,
    "fab": GuestAttack("fab", "FAB", _BOTH, settings.adaptive_steps(20), minimal=True),
    "torchattacks-fab-t": _FAB_T,
    "torchattacks-square": _SQUARE,
    "torchattacks-autoattack": Ladder(
        "torchattacks-autoattack", _BOTH, (_APGD_CE, _APGD_T, _FAB_T, _SQUARE)
    ),
    "spsa": GuestAttack("spsa", "SPSA", _LINF, settings.finite_differences(10)),
    "cw": Ladder("cw", _L2, tuple(map(_cw, _CW_CONSTANTS)), minimal=True),
    "deepfool": GuestAttack(
        "deepfool", "DeepFool", _L2, settings.fixed(steps=50), minimal=True
    ),
    "ead-l1": GuestAttack(
        "ead-l1",
        "EADL1",
        _L2,
        settings.fixed(max_iterations=50),
        minimal=True,
        logit_map=from_zero,
    ),
    "ead-en": GuestAttack(
        "ead-en",
        "EADEN",
        _L2,
        settings.fixed(max_iterations=50),
        minimal=True,
        logit_map=from_zero,
    ),
    "sparsefool": GuestAttack(
        "sparsefool", "SparseFool", _L2, settings.fixed(steps=10), minimal=True
    ),
    "jsma": GuestAttack(
        "jsma",
        "JSMA",
        _L2,
        settings.pixel_pairs,
        requirements=(at_most_coordinates(_SALIENCY_SIZE),),
        prepare=_target_runner_up,
    ),
    "onepixel": GuestAttack(
        "onepixel",
        "OnePixel",
        _L2,
        settings.fixed(),
        minimal=True,
        requirements=(picture,),
    ),
    "pixle": GuestAttack(
        "pixle",
        "Pixle",
        _L2,
        settings.fixed(restarts=5),
        minimal=True,
        requirements=(picture,),
    ),
    "gn": GuestAttack("gn", "GN", _BOTH, settings.noise),
}
