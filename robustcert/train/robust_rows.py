"""What trainers with margins, attacks or bounds are made from."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from robustcert.train.adversarial import AdversarialOptions, adversarial_fit
from robustcert.train.clip_plus import ClipPlus, ClipPlusOptions
from robustcert.train.clip_rows import reserved_for
from robustcert.train.interface import Fit, Plan, Trainer, TrainingData
from robustcert.train.interval import (
    CrownIntervalOptions,
    IntervalOptions,
    crown_interval_fit,
    interval_fit,
)
from robustcert.train.margin import MarginOptions, margin_fit
from robustcert.train.trades import TradesOptions, trades_fit
from robustcert.train.weight_options import WeightOptions, weight_of
from robustcert.train.weights import Fixed

_MARGIN = MarginOptions()
_CLIMBERS = ClipPlusOptions()
_WEIGHT = WeightOptions(lambda_=0.01)


@dataclass(frozen=True, slots=True)
class MarginClipPlusTraining:
    """Margins and CLIP+ together.

    Attributes:
        margin: of the fit.
        pairs: of the penalty.
        weight: lambda.
    """

    margin: MarginOptions = _MARGIN
    pairs: ClipPlusOptions = _CLIMBERS
    weight: WeightOptions = _WEIGHT


def prepare_margin(
    model: nn.Module, data: TrainingData, options: MarginOptions, plan: Plan
) -> Trainer:
    """The margin fit alone; raises as :func:`~robustcert.train.margin.margin_fit`."""
    return _alone(margin_fit(model, data, options, plan))


def prepare_margin_clip_plus(
    model: nn.Module, data: TrainingData, options: MarginClipPlusTraining, plan: Plan
) -> Trainer:
    """The margin fit with the penalty of CLIP+.

    Raises:
        SamplesError: the targets are no labels, or nothing is reserved for the pairs.
        UnsupportedLayerError: a module of ``model`` has no rule, by name.
        UsageError: a number is out of its range.
    """
    reserve = reserved_for(model, data)
    penalty = ClipPlus(reserve, data.box, options.pairs, plan.seed)
    fit = margin_fit(model, data, options.margin, plan)
    return Trainer(fit, penalty, weight_of(options.weight))


def prepare_adversarial(
    model: nn.Module, data: TrainingData, options: AdversarialOptions, plan: Plan
) -> Trainer:
    """Raises as :func:`~robustcert.train.adversarial.adversarial_fit`."""
    return _alone(adversarial_fit(model, data, options, plan))


def prepare_trades(
    model: nn.Module, data: TrainingData, options: TradesOptions, plan: Plan
) -> Trainer:
    """Raises as :func:`~robustcert.train.trades.trades_fit`."""
    return _alone(trades_fit(model, data, options, plan))


def prepare_interval(
    model: nn.Module, data: TrainingData, options: IntervalOptions, plan: Plan
) -> Trainer:
    """Raises as :func:`~robustcert.train.interval.interval_fit`."""
    return _alone(interval_fit(model, data, options, plan))


def prepare_crown_interval(
    model: nn.Module, data: TrainingData, options: CrownIntervalOptions, plan: Plan
) -> Trainer:
    """Raises as :func:`~robustcert.train.interval.crown_interval_fit`."""
    return _alone(crown_interval_fit(model, data, options, plan))


def _alone(fit: Fit) -> Trainer:
    return Trainer(fit, None, Fixed(0.0))
