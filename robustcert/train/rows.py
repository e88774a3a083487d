"""How trainers are made of their parts, for the rows of the registry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from robustcert.errors import UnsupportedLayerError
from robustcert.results.threat_model import Box
from robustcert.train.interface import Fit, Penalty, Plan, Trainer, TrainingData
from robustcert.train.losses import plain_fit
from robustcert.train.weight_options import weight_of
from robustcert.train.weights import Fixed

Prepare = Callable[[nn.Module, TrainingData, Any, Plan], Trainer]
"""Makes the trainer for one model and its data, with options of the row's kind."""

MakeFit = Callable[[nn.Module, TrainingData, Any, Plan], Fit]
"""Makes the fit alone of the same."""

MakePairs = Callable[[Tensor, Box, Any, int], Penalty]
"""Makes a penalty of pairs from reserved inputs, their box, options and a seed."""

_MIXING = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def plain(_: nn.Module, data: TrainingData, __: object, ___: Plan) -> Fit:
    """The fit that the targets call for, whatever the options."""
    return plain_fit(data)


def alone(make_fit: MakeFit) -> Prepare:
    """Trainers with a fit and no penalty; they raise what ``make_fit`` raises."""

    def prepare(
        model: nn.Module,
        data: TrainingData,
        options: Any,  # noqa: ANN401 - those of the row
        plan: Plan,
    ) -> Trainer:
        return Trainer(make_fit(model, data, options, plan), None, Fixed(0.0))

    return prepare


def with_pairs(make_fit: MakeFit, make_pairs: MakePairs) -> Prepare:
    """Trainers with a fit and a weighted penalty of pairs.

    Their options have fields ``pairs`` and ``weight``. Besides what the two parts
    raise, they raise:

    - SamplesError: nothing is reserved for the pairs.
    - UnsupportedLayerError: a layer mixes the inputs of a batch.
    - UsageError: a number is out of its range.
    """

    def prepare(
        model: nn.Module,
        data: TrainingData,
        options: Any,  # noqa: ANN401 - those of the row
        plan: Plan,
    ) -> Trainer:
        reserve = reserved_for(model, data)
        penalty = make_pairs(reserve, data.box, options.pairs, plan.seed)
        fit = make_fit(model, data, options, plan)
        return Trainer(fit, penalty, weight_of(options.weight))

    return prepare


def reserved_for(model: nn.Module, data: TrainingData) -> Tensor:
    """The reserved inputs, where the model is and in its dtype.

    Raises:
        UnsupportedLayerError: a layer mixes the inputs of a batch, so that the outputs
            at a pair would depend on the other pairs.
    """
    for name, module in model.named_modules():
        if isinstance(module, _MIXING):
            raise UnsupportedLayerError(
                name or type(module).__name__,
                "it mixes the inputs of a batch, and pairs must not mix",
                remedy="Train a net without batch normalisation.",
            )
    inputs = data.reserve.inputs
    parameter = next(model.parameters(), inputs)
    return inputs.to(parameter.device, parameter.dtype)
