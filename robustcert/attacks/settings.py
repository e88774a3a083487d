"""How the arguments of each guest follow from epsilon; all in units of the unit box."""

from __future__ import annotations

import math
from typing import Any

from robustcert.attacks.torchattacks_adapter import Options, Setting
from robustcert.results.norm import Norm

REACH = 2.5
"""Fixed steps together reach this many times epsilon, so that an iterate can cross the
ball (Madry et al. 2018)."""

TARGETS = 9
"""Targeted attacks try this many of the likeliest other classes, as AutoAttack does."""


def single_step(setting: Setting) -> dict[str, Any]:
    """One step of size epsilon."""
    return {"eps": setting.epsilon}


def random_single_step(setting: Setting) -> dict[str, Any]:
    """A random start and one step of 1.25 epsilon (Wong et al. 2020)."""
    return {"eps": setting.epsilon, "alpha": 1.25 * setting.epsilon}


def fixed_steps(steps: int, **more: object) -> Options:
    """``steps`` steps of equal size."""

    def options(setting: Setting) -> dict[str, Any]:
        alpha = REACH * setting.epsilon / steps
        return {"eps": setting.epsilon, "alpha": alpha, "steps": steps, **more}

    return options


def noisy_steps(steps: int) -> Options:
    """Fixed steps on the average over noise a quarter of epsilon wide."""

    def options(setting: Setting) -> dict[str, Any]:
        spread = setting.epsilon / 4.0
        if setting.norm is Norm.L2:
            spread /= math.sqrt(setting.size)
        return {**fixed_steps(steps)(setting), "noise_sd": spread}

    return options


def adaptive_steps(steps: int, **more: object) -> Options:
    """APGD and FAB: the guest chooses its step sizes."""

    def options(setting: Setting) -> dict[str, Any]:
        return {
            "norm": setting.word,
            "eps": setting.epsilon,
            "steps": steps,
            "seed": setting.seed,
            **more,
        }

    return options


def targeted_steps(steps: int, **more: object) -> Options:
    """The same, once for each of the likeliest other classes."""

    def options(setting: Setting) -> dict[str, Any]:
        classes = min(setting.classes, TARGETS + 1)
        return {**adaptive_steps(steps, **more)(setting), "n_classes": classes}

    return options


def queries(count: int) -> Options:
    """Square: ``count`` forward passes."""

    def options(setting: Setting) -> dict[str, Any]:
        return {
            "norm": setting.word,
            "eps": setting.epsilon,
            "n_queries": count,
            "seed": setting.seed,
        }

    return options


def finite_differences(steps: int) -> Options:
    """SPSA: Adam on gradients estimated from 128 pairs of evaluations."""

    def options(setting: Setting) -> dict[str, Any]:
        return {
            "eps": setting.epsilon,
            "delta": setting.epsilon / 10.0,
            "lr": REACH * setting.epsilon / steps,
            "nb_iter": steps,
            "max_batch_size": 16,
        }

    return options


def momentum_projection(steps: int) -> Options:
    """PIFGSM and PIFGSM++: steps of epsilon / ``steps``, amplified."""

    def options(setting: Setting) -> dict[str, Any]:
        return {"max_epsilon": setting.epsilon, "num_iter_set": steps}

    return options


def noise(setting: Setting) -> dict[str, Any]:
    """Gaussian noise whose typical norm is epsilon."""
    if setting.norm is Norm.L2:
        return {"std": setting.epsilon / math.sqrt(setting.size)}
    return {"std": setting.epsilon}


def pixel_pairs(setting: Setting) -> dict[str, Any]:
    """JSMA: eight pairs of pixels, each moved by a quarter of epsilon, fill the budget.

    The guest takes the number of pixels as a share, and rounds it up to pairs.
    """
    theta = min(1.0, setting.epsilon / 4.0)
    return {"theta": theta, "gamma": min(16.0, setting.size) / setting.size}


def fixed(**arguments: object) -> Options:
    """Arguments that do not depend on the threat model."""

    def options(_: Setting) -> dict[str, Any]:
        return dict(arguments)

    return options
