"""What inputs are moved by, as options of trainers."""

from __future__ import annotations

from dataclasses import dataclass

from robustcert.results.norm import norm_from_word
from robustcert.results.threat_model import Box, ThreatModel
from robustcert.train.ascent import Climb


@dataclass(frozen=True, slots=True)
class AscentOptions:
    """A gradient ascent inside a ball.

    Attributes:
        epsilon: input units.
        norm: ``l2`` or ``linf``.
        steps: of the ascent.
        reach: length of all steps together, in epsilons.
    """

    epsilon: float = 1.0
    norm: str = "l2"
    steps: int = 7
    reach: float = 2.5


def climb_of(options: AscentOptions, box: Box) -> Climb:
    """The ascent that the options describe.

    Raises:
        UnknownNameError: no norm has that name.
        InvalidThreatModelError: epsilon is no radius.
        UsageError: the steps lead nowhere.
    """
    threat = ThreatModel(norm_from_word(options.norm), options.epsilon, box)
    return Climb(threat, options.steps, options.reach)
