"""What is asked of an experiment; torch-free, so that the command line starts fast."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path


class Mode(enum.Enum):
    """How closely the paper is followed."""

    FAITHFUL = "faithful"
    CORRECTED = "corrected"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a run of an experiment may change.

    Attributes:
        folder: receives pages, nets and records; what it holds is not done again.
        mode: how closely the paper is followed.
        data: folder of idx files; ``None`` takes what ships with the package.
        seeds: of the trainings.
        epochs: instead of the experiment's own.
        count: test images measured, at most.
        device: that nets are trained on.
    """

    folder: Path
    mode: Mode = Mode.FAITHFUL
    data: Path | None = None
    seeds: tuple[int, ...] = (0, 1, 2)
    epochs: int | None = None
    count: int | None = None
    device: str = "cpu"
