"""CLIP as published, with one step size of the pairs after the other.

The paper states no step size tau for its experiments, and much depends on it: pairs
climb by ``tau L grad L``, quotients are small with a sigmoid behind the output, and
with a small tau pairs stay the noisy copies they were.
"""

from __future__ import annotations

from dataclasses import replace

from robustcert.experiments.arms import Arm
from robustcert.experiments.classification import Setting, classification
from robustcert.experiments.study import Study
from robustcert.experiments.wanted import Mode

TAUS = (0.01, 0.1, 1.0, 10.0)
TARGET = "CLIP90"


def step_sizes(setting: Setting, epochs: int | None = None) -> Study:
    """The published training without a penalty, and one with pairs for each tau.

    Args:
        setting: MNIST or Fashion-MNIST.
        epochs: instead of the setting's.
    """
    study = classification(setting, Mode.FAITHFUL, epochs)
    arms = {arm.name: arm for arm in study.arms}
    pairs = arms[TARGET]
    kept = [option for option in pairs.options if not option.startswith("tau=")]
    climbing: list[Arm] = [
        replace(pairs, name=f"{TARGET}, tau {tau:g}", options=(*kept, f"tau={tau}"))
        for tau in TAUS
    ]
    return replace(
        study,
        name=f"{setting.name}-step-sizes",
        title=f"{study.title}, by the step size tau of the pairs",
        arms=(arms["Standard"], *climbing),
    )
