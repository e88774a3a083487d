"""Small trainings with known answers, for the tests beside this file."""

from __future__ import annotations

import torch
from torch import nn

from robustcert.results.threat_model import UNIT_BOX, Box
from robustcert.train.data import Shares, split
from robustcert.train.interface import Batch, TrainingData, drawn_from
from robustcert.train.nets import dense, net_named

WIDE = Box(-10.0, 10.0)


def regression(count: int = 64, inputs: int = 3) -> TrainingData:
    """Noisy values of a linear function, all of them for training."""
    generator = drawn_from(1, 100)
    x = torch.randn(count, inputs, generator=generator).clamp(-3, 3)
    slope = torch.arange(1.0, inputs + 1.0)
    y = x @ slope[:, None] + 0.5 + 0.1 * torch.randn(count, 1, generator=generator)
    return split(Batch(x, y), 0, Shares(0.0, 0.0), box=WIDE, name="line")


def two_clouds(count: int = 120) -> TrainingData:
    """Points of the unit square: class 1 where the first coordinate is larger."""
    x = torch.rand(count, 2, generator=drawn_from(2, 100))
    labels = (x[:, 0] > x[:, 1]).long()
    return split(Batch(x, labels), 0, Shares(0.2, 0.2), box=UNIT_BOX, name="clouds")


def affine(inputs: int = 3, outputs: int = 1) -> nn.Module:
    """A linear layer in a Sequential."""
    return nn.Sequential(dense(inputs, outputs, drawn_from(0, 3)))


def small_net(name: str = "mlp:8,6", inputs: int = 2, classes: int = 2) -> nn.Module:
    """The same net every time."""
    return net_named(name, (inputs,), classes, drawn_from(0, 3))


def bits(model: nn.Module) -> list[bytes]:
    """The model's state as bytes: equal lists are equal models."""
    return [value.numpy().tobytes() for value in model.state_dict().values()]
