"""Every trainer by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from robustcert.errors import UnknownNameError
from robustcert.train.adversarial import AdversarialOptions
from robustcert.train.chain import chain_of
from robustcert.train.clip_rows import (
    ClipPlusTraining,
    ClipTraining,
    prepare_clip,
    prepare_clip_plus,
)
from robustcert.train.interface import Plan, Trainer, TrainingData, drawn_from
from robustcert.train.interval import CrownIntervalOptions, IntervalOptions
from robustcert.train.live import live_graph
from robustcert.train.losses import plain_fit
from robustcert.train.margin import MarginOptions
from robustcert.train.robust_rows import (
    MarginClipPlusTraining,
    prepare_adversarial,
    prepare_crown_interval,
    prepare_interval,
    prepare_margin,
    prepare_margin_clip_plus,
    prepare_trades,
)
from robustcert.train.singular import SingularVectors
from robustcert.train.trades import TradesOptions
from robustcert.train.weight_options import WeightOptions, weight_of
from robustcert.train.weight_penalty import SpectralProduct, SquaredWeights
from robustcert.train.weights import Fixed

Prepare = Callable[[nn.Module, TrainingData, Any, Plan], Trainer]
"""Makes the trainer for one model and its data, with options of the row's kind."""

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


def _plain(_: nn.Module, data: TrainingData, __: NoOptions, ___: Plan) -> Trainer:
    return Trainer(plain_fit(data), None, Fixed(0.0))


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


TRAINERS: dict[str, Row] = {
    "erm": Row(NoOptions, _plain, "validation"),
    "weight-penalty": Row(WeightOptions, _squares),
    "spectral-penalty": Row(WeightOptions, _spectral),
    "clip": Row(ClipTraining, prepare_clip),
    "clip+": Row(ClipPlusTraining, prepare_clip_plus),
    "margin": Row(MarginOptions, prepare_margin),
    "margin-clip+": Row(MarginClipPlusTraining, prepare_margin_clip_plus),
    "adversarial": Row(AdversarialOptions, prepare_adversarial),
    "trades": Row(TradesOptions, prepare_trades),
    "interval": Row(IntervalOptions, prepare_interval),
    "crown-interval": Row(CrownIntervalOptions, prepare_crown_interval),
}
