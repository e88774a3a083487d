"""What a trainer with CLIP or CLIP+ is made from."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from robustcert.errors import UnsupportedLayerError
from robustcert.train.clip import Clip, ClipOptions
from robustcert.train.clip_plus import ClipPlus, ClipPlusOptions
from robustcert.train.interface import Plan, Trainer, TrainingData
from robustcert.train.losses import plain_fit
from robustcert.train.weight_options import WeightOptions, weight_of

_WEIGHT = WeightOptions(lambda_=0.03)
_PAIRS = ClipOptions()
_CLIMBERS = ClipPlusOptions()
_MIXING = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@dataclass(frozen=True, slots=True)
class ClipTraining:
    """CLIP as published.

    Attributes:
        pairs: X_Lip, and how it climbs.
        weight: lambda.
    """

    pairs: ClipOptions = _PAIRS
    weight: WeightOptions = _WEIGHT


@dataclass(frozen=True, slots=True)
class ClipPlusTraining:
    """CLIP+.

    Attributes:
        pairs: how many, and how they climb.
        weight: lambda.
    """

    pairs: ClipPlusOptions = _CLIMBERS
    weight: WeightOptions = _WEIGHT


def prepare_clip(
    model: nn.Module, data: TrainingData, options: ClipTraining, plan: Plan
) -> Trainer:
    """The plain fit with CLIP.

    Raises:
        SamplesError: nothing is reserved for the pairs.
        UnsupportedLayerError: a layer mixes the inputs of a batch.
        UsageError: a number is out of its range.
    """
    reserve = reserved_for(model, data)
    penalty = Clip(reserve, data.box, options.pairs, plan.seed)
    return Trainer(plain_fit(data), penalty, weight_of(options.weight))


def prepare_clip_plus(
    model: nn.Module, data: TrainingData, options: ClipPlusTraining, plan: Plan
) -> Trainer:
    """The plain fit with CLIP+.

    Raises:
        SamplesError: nothing is reserved for the pairs.
        UnsupportedLayerError: a layer mixes the inputs of a batch.
        UsageError: a number is out of its range.
    """
    reserve = reserved_for(model, data)
    penalty = ClipPlus(reserve, data.box, options.pairs, plan.seed)
    return Trainer(plain_fit(data), penalty, weight_of(options.weight))


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
