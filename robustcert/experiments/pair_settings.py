"""CLIP as published, by the number of its pairs and by how far they climb.

The paper has a pair for each of 6,000 held-out images and states no step size tau.
Much depends on both: pairs climb by ``tau L grad L``, quotients are small with a
sigmoid behind the output, and with a small tau pairs stay the noisy copies they were.
Then the more of them there are, the steeper the steepest is.
"""

from __future__ import annotations

from dataclasses import replace

from robustcert.experiments.arms import Arm
from robustcert.experiments.classification import Setting, classification
from robustcert.experiments.study import Study
from robustcert.experiments.wanted import Mode

CLIMBS = ((64, 0.01), (400, 0.01), (1000, 0.01), (64, 1.0), (64, 10.0))
"""Numbers of pairs and their tau."""

TARGET = "CLIP90"


def pair_settings(setting: Setting, epochs: int | None = None) -> Study:
    """The published training without a penalty, and one for each of :data:`CLIMBS`.

    Args:
        setting: MNIST or Fashion-MNIST.
        epochs: instead of the setting's.
    """
    study = classification(setting, Mode.FAITHFUL, epochs)
    arms = {arm.name: arm for arm in study.arms}
    kept = [
        option
        for option in arms[TARGET].options
        if not option.startswith(("tau=", "pairs="))
    ]
    climbing: list[Arm] = [
        replace(
            arms[TARGET],
            name=f"{TARGET}, {pairs} pairs, tau {tau:g}",
            options=(*kept, f"pairs={pairs}", f"tau={tau}"),
        )
        for pairs, tau in CLIMBS
    ]
    return replace(
        study,
        name=f"{setting.name}-pair-settings",
        title=f"{study.title}, by number and step size of the pairs",
        arms=(arms["Standard"], *climbing),
    )
