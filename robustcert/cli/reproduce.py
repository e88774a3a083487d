"""``robustcert train reproduce`` and ``train compare``: experiments with trainers."""

from __future__ import annotations

import enum
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from robustcert.cli.output import people
from robustcert.cli.progress import progress_display
from robustcert.errors import UsageError
from robustcert.experiments.wanted import Mode, Wanted

WORK = "robustcert.experiments.commands"
"""What the commands do; it needs torch, which this file does not load."""

SEEDS = "0,1,2"


class Experiment(enum.Enum):
    """Experiments of the paper that CLIP was published in."""

    REGRESSION = "regression"
    MNIST = "mnist"
    FASHION_MNIST = "fashion-mnist"


class Level(enum.Enum):
    """Comparisons of trainers."""

    EPOCHS = "epochs"
    TIME = "time"
    ACCURACY = "accuracy"


COMPARISONS = {
    Level.EPOCHS: "comparison",
    Level.TIME: "comparison-equal-time",
    Level.ACCURACY: "comparison-equal-accuracy",
}

What = Annotated[Experiment, typer.Argument(metavar="EXPERIMENT", help="Which one.")]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="FOLDER",
        help="Receives page, figures, tables, nets and records; what it holds already "
        "is not done again.",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="FOLDER",
        help="The four idx files; left out, a few built-in images show that it runs.",
    ),
]
ModeOption = Annotated[
    Mode,
    typer.Option("--mode", help="As published, or with its faults corrected."),
]
Seeds = Annotated[
    str, typer.Option("--seeds", metavar="S,S,...", help="Seeds of the trainings.")
]
Epochs = Annotated[
    int | None,
    typer.Option(
        "--epochs", metavar="N", min=1, help="Instead of the experiment's own."
    ),
]
Count = Annotated[
    int | None,
    typer.Option("--count", metavar="N", min=1, help="Test images measured, at most."),
]
LevelOption = Annotated[
    Level,
    typer.Option("--level", help="What all nets have in common."),
]
Device = Annotated[
    str, typer.Option("--device", metavar="NAME", help="Where to train: cpu, cuda.")
]


def reproduce(
    experiment: What,
    *,
    out: Out,
    data: Data = None,
    mode: ModeOption = Mode.FAITHFUL,
    seeds: Seeds = SEEDS,
    epochs: Epochs = None,
    count: Count = None,
    device: Device = "cpu",
) -> None:
    """Repeat an experiment of the CLIP paper, and set its figures beside ours."""
    chosen = numbers(seeds)
    _run(experiment.value, Wanted(out, mode, data, chosen, epochs, count, device))


def compare(
    *,
    out: Out,
    data: Data = None,
    seeds: Seeds = SEEDS,
    epochs: Epochs = None,
    level: LevelOption = Level.EPOCHS,
    count: Count = None,
    device: Device = "cpu",
) -> None:
    """Train one net in every way, and set robustness and certificates side by side."""
    chosen = numbers(seeds)
    wanted = Wanted(out, Mode.CORRECTED, data, chosen, epochs, count, device)
    _run(COMPARISONS[level], wanted)


def numbers(words: str) -> tuple[int, ...]:
    """``0,1,2`` as seeds.

    Raises:
        UsageError: a part is no whole number of at least 0, or comes twice.
    """
    parts = [word.strip() for word in words.split(",")]
    if not all(part.isdecimal() for part in parts) or len(set(parts)) < len(parts):
        raise UsageError(
            f"{words!r} names no seeds",
            remedy="Give different whole numbers separated by commas, such as 0,1,2.",
        )
    return tuple(int(part) for part in parts)


def _run(name: str, wanted: Wanted) -> None:
    with progress_display() as listener:
        files = import_module(WORK).run(name, wanted, listener)
    console = people(None)
    for file in files:
        console.print(str(file))
