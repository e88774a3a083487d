"""Accuracies of a trained net: on samples as they are, and under Gaussian noise."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustcert.tensors import margins
from robustcert.train.interface import Batch, drawn_from

CHUNK = 1000
NOISE = 40
"""Purpose of the generator that draws the noise."""


def logits_of(model: nn.Module, inputs: Tensor) -> Tensor:
    """``(N, K)`` float64 logits of inputs ``(N, *shape)``."""
    with torch.no_grad():
        return torch.cat([model(part) for part in torch.split(inputs, CHUNK)]).double()


def accuracy(model: nn.Module, batch: Batch) -> float:
    """Share of the samples with a margin above 0."""
    gaps = margins(logits_of(model, batch.inputs), batch.targets)
    return float((gaps > 0.0).double().mean())


def median_margin(model: nn.Module, batch: Batch) -> float:
    """The middle margin of all samples, in logit units; wrong ones are below 0."""
    return float(margins(logits_of(model, batch.inputs), batch.targets).median())


def noisy_accuracy(
    model: nn.Module, batch: Batch, deviation: float, seed: int
) -> float:
    """Accuracy with Gaussian noise on every coordinate; it may leave the box.

    Args:
        model: maps ``(N, *shape)`` to logits.
        batch: labelled.
        deviation: standard deviation of the noise, in input units.
        seed: of the noise.
    """
    generator = drawn_from(seed, NOISE)
    noise = torch.randn(batch.inputs.shape, generator=generator)
    noise = noise.to(device=batch.inputs.device, dtype=batch.inputs.dtype)
    return accuracy(model, Batch(batch.inputs + deviation * noise, batch.targets))
