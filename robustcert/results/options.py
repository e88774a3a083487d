"""What an evaluation may be told, here and on a service alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from robustcert.results.effort import Effort, Tier


class Options(TypedDict, total=False):
    """What an evaluation may be told besides its threat model's norm and epsilons.

    Attributes:
        count: the first ``count`` samples; all of them if left out.
        seed: of every random step.
        box: lowest and highest valid input.
        tier: how hard the attacks try.
        effort: how hard the Lipschitz bounds and the certifiers try.
        attacks: by name; the tier's if left out.
        certifiers: by name; all that apply if left out.
        input_shape: of the model's input, without the batch, where the model leaves it
            open or the samples have another one of as many numbers.
        certify_seconds: what certifiers may spend on each sample that cheap ones and
            attacks left open; the effort's if left out.
        seconds: wall-clock limit.
        memory_mb: memory limit, in MiB.
        attack_seconds: wall-clock budget of all attacks; what it leaves is a finding.
        attack_queries: their budget in forward and backward passes, per sample.
        smooth_sigma: noise of the smoothed model, in input units; the report speaks of
            that model too, in a part of its own. Left out: of the model alone.
        smooth_draws: of the noise, that count how often a class wins.
    """

    count: int | None
    seed: int
    box: tuple[float, float]
    tier: Tier | str
    effort: Effort | str
    attacks: Sequence[str]
    certifiers: Sequence[str]
    input_shape: Sequence[int] | None
    certify_seconds: float | None
    seconds: float | None
    memory_mb: int | None
    attack_seconds: float | None
    attack_queries: int | None
    smooth_sigma: float | None
    smooth_draws: int
