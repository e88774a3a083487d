"""The ways to train that an experiment sets side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from robustcert.train.interface import Plan, Trainer, TrainingData
from robustcert.train.options import options_from_words, options_in_words
from robustcert.train.registry import trainer_named


@dataclass(frozen=True, slots=True)
class Published:
    """Figures of the paper's table, in percent, and the final weight of its penalty.

    Attributes:
        train: accuracy.
        test: accuracy.
        noise: accuracy under Gaussian noise of standard deviation 1.
        attack: accuracy under the paper's attack.
        weight: mu or lambda; ``None`` where there is no penalty.
    """

    train: float
    test: float
    noise: float
    attack: float
    weight: float | None = None


@dataclass(frozen=True, slots=True)
class Arm:
    """One line of a table: a trainer of the registry with its options.

    Attributes:
        name: of the line, also of files.
        trainer: a row of :data:`robustcert.train.registry.TRAINERS`.
        options: ``name=value`` each; the others are the row's own.
        published: what the paper reports, where it does.
        epochs: of its training, instead of the study's.
    """

    name: str
    trainer: str
    options: tuple[str, ...] = ()
    published: Published | None = None
    epochs: int | None = None

    def prepare(self, model: nn.Module, data: TrainingData, plan: Plan) -> Trainer:
        """The trainer for one model and its data.

        Raises:
            UnknownNameError: the registry has no such row, or the row no such option.
        """
        row = trainer_named(self.trainer)
        chosen = options_from_words(row.options, self.options)
        return row.prepare(model, data, chosen, plan)

    @property
    def words(self) -> dict[str, Any]:
        """Trainer and all its options as JSON."""
        kind = trainer_named(self.trainer).options
        chosen = options_in_words(options_from_words(kind, self.options))
        return {"trainer": self.trainer, "options": chosen}
