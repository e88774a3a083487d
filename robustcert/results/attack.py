"""What the attacks found, after every adversarial example was verified again."""

from __future__ import annotations

import math
from dataclasses import dataclass

from robustcert.results.threat_model import ThreatModel


@dataclass(frozen=True, slots=True)
class AttackRun:
    """The cost and the yield of one attack in one evaluation.

    Attributes:
        name: the attack's name in the catalogue.
        broken: samples that this attack was the first to break, at one epsilon or
            more; a sample may count for one attack here and for another there.
        forward_queries: model evaluations, counted per sample.
        backward_queries: gradient evaluations, counted per sample.
        seconds: wall-clock time.
        unverified: examples the attack claimed and verification threw out.
        attacked: samples the attack was run on. The others were settled before, or it
            gave up before it came to them, or the attack budget was spent.
    """

    name: str
    broken: int
    forward_queries: int
    backward_queries: int
    seconds: float
    unverified: int = 0
    attacked: int = 0


@dataclass(frozen=True, slots=True)
class AdversarialExample:
    """The smallest verified perturbation found for one sample.

    Attributes:
        index: position in the sample set.
        distance: the perturbation's norm, in input units; 0 where the model is wrong
            on the sample itself.
        attack: name of the attack that found it; ``clean`` at distance 0.
    """

    index: int
    distance: float
    attack: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.distance) and self.distance >= 0.0):
            raise ValueError(f"an adversarial distance is not {self.distance}")


@dataclass(frozen=True, slots=True)
class AttackResult:
    """What a set of attacks found under one threat model.

    A sample without an entry in ``examples`` withstood these attacks. That proves
    nothing: robust accuracy is an upper bound of the truth.
    """

    threat_model: ThreatModel
    examples: tuple[AdversarialExample, ...]
    runs: tuple[AttackRun, ...]
