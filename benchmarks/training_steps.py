"""What a training step with CLIP or CLIP+ costs, as a multiple of a plain one.

Batches of 128 pictures of 28 by 28 pixels, 64 pairs, Adam, on a dense and on a
convolutional net. The contenders take turns, a dozen steps of the product's own loop
each, so that whatever else the machine does hits all of them alike; a turn's ratio is
its CPU time over that of the plain turn beside it. The pictures are noise: a step takes
as long on them as on others.

    python -m benchmarks.training_steps [--turns 15] [--nets NAME ...] [--json FILE]
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.machine import machine
from robustcert.results.threat_model import UNIT_BOX
from robustcert.train.clip import Clip, ClipOptions
from robustcert.train.clip_plus import ClipPlus, ClipPlusOptions
from robustcert.train.interface import (
    Batch,
    Penalty,
    Plan,
    Trainer,
    TrainingData,
    drawn_from,
)
from robustcert.train.loop import train
from robustcert.train.losses import CrossEntropy
from robustcert.train.nets import net_named
from robustcert.train.weights import Fixed

RESULTS = Path(__file__).resolve().parent / "results" / "training_steps.json"
PICTURE = (1, 28, 28)
NETS = ("mlp-200-80", "madry-conv")
STEPS = 12  # a turn; a multiple of `every`
PAIRS = 64
BATCH = 128
WEIGHT = 0.03
CLIP_PLUS = ClipPlusOptions(pairs=PAIRS)
PLAIN = "plain"


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """A net of its own, and how it is trained."""

    model: nn.Module
    trainer: Trainer

    def seconds(self, data: TrainingData, plan: Plan) -> float:
        """CPU seconds a step, over one turn."""
        return train(self.model, data, self.trainer, plan).epochs[0].seconds / STEPS


def main() -> None:
    """Let the contenders take turns on each net; write what they took."""
    asked = _arguments()
    torch.set_num_threads(1)
    document: dict[str, Any] = {
        "machine": machine(),
        "batch": BATCH,
        "pairs": PAIRS,
        "turns": asked.turns,
        "steps_a_turn": STEPS,
        "clip_plus_every": CLIP_PLUS.every,
        "nets": {},
    }
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    for name in asked.nets:
        document["nets"][name] = measured(name, asked.turns)
        asked.json.write_text(json.dumps(document, indent=1) + "\n")
        print(name, json.dumps(document["nets"][name], indent=1), flush=True)


def measured(net: str, turns: int) -> dict[str, Any]:
    """Figures of each contender on a net; a first turn warms up, uncounted."""
    data, plan = noise(STEPS * BATCH), Plan(epochs=1, batch=BATCH)
    contenders = {name: contender(net, make) for name, make in PENALTIES.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn, (name, each) in itertools.product(range(turns + 1), contenders.items()):
        spent = each.seconds(data, plan)
        if turn:
            seconds[name].append(spent)
    return {name: figures(took, seconds[PLAIN]) for name, took in seconds.items()}


def figures(seconds: list[float], plain: list[float]) -> dict[str, float]:
    """Milliseconds a step, and the ratio to the plain step with its quartiles."""
    ratios = [own / other for own, other in zip(seconds, plain, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return {
        "milliseconds": round(1e3 * statistics.median(seconds), 3),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_quartile_1": round(low, 3),
        "ratio_quartile_3": round(high, 3),
    }


def contender(net: str, make: Callable[[TrainingData], Penalty | None]) -> Contender:
    """A fresh net, the same for all, with the penalty that ``make`` makes."""
    model = net_named(net, PICTURE, 10, drawn_from(0, 3))
    penalty = make(noise(1000))
    weight = Fixed(0.0 if penalty is None else WEIGHT)
    return Contender(model, Trainer(CrossEntropy(), penalty, weight))


def noise(count: int) -> TrainingData:
    """Random pictures and labels; the pairs are drawn from as many others."""
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(2, count, *PICTURE, generator=generator)
    labels = torch.randint(10, (count,), generator=generator)
    training, reserve = Batch(pictures[0], labels), Batch(pictures[1], labels)
    nothing = training.rows(slice(0))
    return TrainingData(training, reserve, nothing, UNIT_BOX, "noise")


def _nothing(_: TrainingData) -> None:
    """The plain step has no penalty."""


def _clip(data: TrainingData) -> Penalty:
    return Clip(data.reserve.inputs, data.box, ClipOptions(pairs=PAIRS), 0)


def _clip_plus(data: TrainingData) -> Penalty:
    return ClipPlus(data.reserve.inputs, data.box, CLIP_PLUS, 0)


def _clip_plus_each(data: TrainingData) -> Penalty:
    return ClipPlus(data.reserve.inputs, data.box, replace(CLIP_PLUS, every=1), 0)


PENALTIES: dict[str, Callable[[TrainingData], Penalty | None]] = {
    PLAIN: _nothing,
    "clip": _clip,
    "clip+": _clip_plus,
    "clip+ in every step": _clip_plus_each,
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=15, help="of each contender")
    parser.add_argument("--nets", nargs="*", default=NETS, choices=NETS)
    parser.add_argument("--json", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
