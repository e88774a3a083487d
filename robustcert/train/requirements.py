"""What robust fits need of the data and of the model."""

from __future__ import annotations

from torch import nn

from robustcert.errors import SamplesError, UnsupportedLayerError
from robustcert.train.interface import TrainingData

_UNSTEADY = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.AlphaDropout,
)


def require_labels(data: TrainingData) -> None:
    """Raise unless the targets are labels.

    Raises:
        SamplesError: they are values to be regressed on.
    """
    if data.training.targets.is_floating_point():
        raise SamplesError(
            "this trainer separates classes, and the targets are values",
            remedy="Give int64 labels, or train with erm, clip or clip+.",
        )


def require_fixed_layers(model: nn.Module) -> None:
    """Raise where a row's output depends on other rows or on the moment.

    Raises:
        UnsupportedLayerError: names a batch norm or a dropout.
    """
    for name, module in model.named_modules():
        if isinstance(module, _UNSTEADY):
            raise UnsupportedLayerError(
                name,
                f"an attack inside a training step cannot hold {type(module).__name__} "
                "still",
                remedy="Train a net without batch norm and dropout.",
            )
