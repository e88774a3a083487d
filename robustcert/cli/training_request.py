"""What ``robustcert train`` was asked for; torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from robustcert.results.threat_model import Box


@dataclass(frozen=True, slots=True)
class Steps:
    """How long and how fast; the fields of a plan.

    Attributes:
        epochs: passes over the training part.
        batch: examples a step.
        rate: of the optimiser.
        optimiser: by name.
        schedule: of the rate, by name.
        seed: of everything that is drawn.
    """

    epochs: int
    batch: int
    rate: float
    optimiser: str
    schedule: str
    seed: int


@dataclass(frozen=True, slots=True)
class Material:
    """What a net is trained on.

    Attributes:
        samples: a built-in set, an .npz file or a folder of idx files.
        box: of the inputs.
        reserve: share held back for pairs.
        validation: share held back for selection.
        extra: more examples; ``None`` for none.
        extra_share: of each batch that they fill.
    """

    samples: str
    box: Box
    reserve: float
    validation: float
    extra: str | None
    extra_share: float


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """One training.

    Attributes:
        trainer: by name.
        options: of the trainer, each ``name=value``.
        net: by name.
        material: examples.
        steps: how long and how fast.
        selection: by name; ``None`` takes the trainer's.
        device: by torch's name.
        out: where the model is written; ``None`` writes none.
        checkpoint: where finished epochs are kept; ``None`` keeps none.
    """

    trainer: str
    options: tuple[str, ...]
    net: str
    material: Material
    steps: Steps
    selection: str | None
    device: str
    out: Path | None
    checkpoint: Path | None
