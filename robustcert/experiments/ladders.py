"""The ladders of the regression: one a seed and an output, kept on the disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from robustcert.experiments.outcome import RUNS
from robustcert.experiments.regression import (
    LADDER,
    PAIR_NOISE,
    PLAN,
    Ladder,
    MakePenalty,
    climbed_down,
)
from robustcert.experiments.regression_task import OUTPUTS
from robustcert.experiments.threads import one_thread
from robustcert.experiments.wanted import Mode
from robustcert.results.document import canonical_json
from robustcert.results.progress import Listener, Progress
from robustcert.train.checkpoint import write_whole
from robustcert.train.clip import Clip, ClipOptions
from robustcert.train.clip_plus import ClipPlus, ClipPlusOptions
from robustcert.train.interface import Penalty, Plan, TrainingData

PAIRS = ClipOptions(noise=PAIR_NOISE)
CLIMBERS = ClipPlusOptions(separation=0.01)
"""Ends .08 apart: pairs must fit between the kinks of the function."""

_WIRE = TypeAdapter(Ladder)


def published(data: TrainingData, seed: int) -> Penalty:
    """CLIP: the pairs are redrawn every epoch."""
    return Clip(data.reserve.inputs, data.box, PAIRS, seed)


def persistent(data: TrainingData, seed: int) -> Penalty:
    """CLIP+: pairs climb from step to step."""
    return ClipPlus(data.reserve.inputs, data.box, CLIMBERS, seed)


PENALTIES: dict[Mode, MakePenalty] = {
    Mode.FAITHFUL: published,
    Mode.CORRECTED: persistent,
}


def ladders(
    mode: Mode,
    seeds: Sequence[int],
    epochs: int | None,
    folder: Path,
    listener: Listener,
    weights: Sequence[float] = LADDER,
) -> tuple[Ladder, ...]:
    """For each seed a ladder with linear and one with sigmoid output.

    Those that are on the disk are read from there.

    Args:
        mode: CLIP as published, or CLIP+.
        seeds: of samples, starts and pairs.
        epochs: of each rung, instead of the plan's.
        folder: keeps the ladders.
        listener: told of steps, all ladders' together, and where they are made.
        weights: of the rungs, descending.
    """
    plan = PLAN if epochs is None else replace(PLAN, epochs=epochs)
    climbs = [
        _Climb(mode, output, seed, plan, tuple(weights))
        for seed in seeds
        for output in OUTPUTS
    ]
    with one_thread():
        return tuple(
            _ladder(climb, folder, _Heard(listener, number, len(climbs)))
            for number, climb in enumerate(climbs)
        )


def kept_ladders(mode: Mode, seeds: Sequence[int], folder: Path) -> tuple[Ladder, ...]:
    """Those ladders, with the plan's epochs and weights, that are on the disk."""
    climbs = (
        _Climb(mode, out, seed, PLAN, LADDER) for seed in seeds for out in OUTPUTS
    )
    kept = (_kept(folder / RUNS / climb.name) for climb in climbs)
    return tuple(ladder for ladder in kept if ladder is not None)


@dataclass(frozen=True, slots=True)
class _Climb:
    """Everything that one ladder depends on."""

    mode: Mode
    output: str
    seed: int
    plan: Plan
    weights: tuple[float, ...]

    @property
    def name(self) -> str:
        """Of its file."""
        pairs = [asdict(PAIRS), asdict(CLIMBERS)]
        words = {**asdict(self), "mode": self.mode.value, "pairs": pairs}
        text = json.dumps(words, sort_keys=True)
        return f"regression-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"


@dataclass(frozen=True, slots=True)
class _Heard:
    """Hears of one ladder, and tells of all."""

    listener: Listener
    ladder: int
    ladders: int

    def __call__(self, progress: Progress) -> None:
        done = self.ladder * progress.total + progress.done
        total = self.ladders * progress.total
        note = f"ladder {self.ladder + 1} of {self.ladders}: {progress.note}"
        self.listener(Progress(progress.stage, done, total, note))


def _ladder(climb: _Climb, folder: Path, listener: Listener) -> Ladder:
    path = folder / RUNS / climb.name
    kept = _kept(path)
    if kept is not None:
        return kept
    found = climbed_down(
        climb.output,
        PENALTIES[climb.mode],
        seed=climb.seed,
        plan=climb.plan,
        weights=climb.weights,
        listener=listener,
    )
    write_whole(path, canonical_json(asdict(found)).encode())
    return found


def _kept(path: Path) -> Ladder | None:
    try:
        return _WIRE.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
