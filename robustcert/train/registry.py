"""Every trainer by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from robustcert.errors import UnknownNameError
from robustcert.train.adversarial import adversarial_fit
from robustcert.train.ascent_options import AscentOptions
from robustcert.train.chain import chain_of
from robustcert.train.clip import Clip
from robustcert.train.clip_plus import ClipPlus
from robustcert.train.clip_rows import (
    ClipPlusTraining,
    ClipTraining,
    MarginClipPlusTraining,
)
from robustcert.train.interface import Fit, Plan, Trainer, TrainingData, drawn_from
from robustcert.train.interval import (
    CrownIntervalOptions,
    IntervalOptions,
    crown_interval_fit,
    interval_fit,
)
from robustcert.train.live import live_graph
from robustcert.train.losses import plain_fit
from robustcert.train.margin import MarginOptions, margin_fit
from robustcert.train.rows import Prepare, alone, plain, with_pairs
from robustcert.train.singular import SingularVectors
from robustcert.train.trades import TradesOptions, trades_fit
from robustcert.train.weight_options import WeightOptions, weight_of
from robustcert.train.weight_penalty import SpectralProduct, SquaredWeights

_SPECTRAL = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One way to train; :data:`robustcert.train.names.SUMMARIES` says what it does.

    Attributes:
        options: a frozen dataclass; every field has a default.
        prepare: makes the trainer.
        selection: a row of :data:`robustcert.train.selection.SELECTIONS` that suits it.
    """

    options: type[Any]
    prepare: Prepare
    selection: str = "latest"


@dataclass(frozen=True, slots=True)
class NoOptions:
    """There is nothing to choose."""


def trainer_named(name: str) -> Row:
    """The row called ``name``.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in TRAINERS:
        raise UnknownNameError(
            f"no trainer is called {name!r}; there are {', '.join(TRAINERS)}"
        )
    return TRAINERS[name]


def _squares(
    _: nn.Module, data: TrainingData, options: WeightOptions, __: Plan
) -> Trainer:
    return Trainer(plain_fit(data), SquaredWeights(), weight_of(options))


def _spectral(
    model: nn.Module, data: TrainingData, options: WeightOptions, plan: Plan
) -> Trainer:
    vectors = SingularVectors(drawn_from(plan.seed, _SPECTRAL))
    shape = tuple(data.training.inputs.shape[1:])
    chain_of(live_graph(model, shape))  # refuses a layer before the first step
    penalty = SpectralProduct(shape, vectors)
    return Trainer(plain_fit(data), penalty, weight_of(options))


def _margin_part(
    model: nn.Module, data: TrainingData, options: MarginClipPlusTraining, plan: Plan
) -> Fit:
    return margin_fit(model, data, options.margin, plan)


TRAINERS: dict[str, Row] = {
    "erm": Row(NoOptions, alone(plain), "validation"),
    "weight-penalty": Row(WeightOptions, _squares),
    "spectral-penalty": Row(WeightOptions, _spectral),
    "clip": Row(ClipTraining, with_pairs(plain, Clip)),
    "clip+": Row(ClipPlusTraining, with_pairs(plain, ClipPlus)),
    "margin": Row(MarginOptions, alone(margin_fit)),
    "margin-clip+": Row(MarginClipPlusTraining, with_pairs(_margin_part, ClipPlus)),
    "adversarial": Row(AscentOptions, alone(adversarial_fit)),
    "trades": Row(TradesOptions, alone(trades_fit)),
    "interval": Row(IntervalOptions, alone(interval_fit)),
    "crown-interval": Row(CrownIntervalOptions, alone(crown_interval_fit)),
}
