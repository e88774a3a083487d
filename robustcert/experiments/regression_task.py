"""What the regression of the paper learns, and the net that learns it.

Reference:
    Bungert, Raab, Roith, Schwinn, Tenbrinck. CLIP: Cheap Lipschitz Training of Neural
        Networks. SSVM 2021, arXiv 2103.12531, section 4.1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from robustcert.results.threat_model import Box
from robustcert.train.interface import Batch, TrainingData, drawn_from
from robustcert.train.nets import NETS

INTERVAL = Box(-4.0, 4.0)
SPANS = ((-4.0, -3.0), (-0.3, 0.3), (3.0, 4.0))
"""Where there are samples; the gaps lie between them."""

SAMPLES = 100
ROUNDS = 12
"""Times that an epoch shows every sample; pairs are drawn anew after it."""

NOISE = 0.05
"""Standard deviation of the samples about the function."""

RESERVE = 1000
"""Points of the interval that pairs are drawn from."""

OUTPUTS = {"linear": "mlp-regression", "sigmoid": "mlp-regression-sigmoid"}
"""Nets by what stands behind their last layer."""

GRID = 401
_DATA, _START = 41, 42


def truth(inputs: Tensor) -> Tensor:
    """``max(|x| - 3, 0) / 2`` elementwise."""
    return (inputs.abs() - 3.0).clamp(min=0.0) / 2.0


def grid() -> Tensor:
    """``(GRID, 1)`` float32 points of the interval, both ends among them."""
    return torch.linspace(INTERVAL.low, INTERVAL.high, GRID)[:, None]


def samples(seed: int) -> TrainingData:
    """100 noisy samples on the spans, uniform in length, and points to pair.

    The training part holds every sample as often as an epoch shows it.
    """
    generator = drawn_from(seed, _DATA)
    inputs = _on_spans(torch.rand(SAMPLES, 1, generator=generator))
    noise = NOISE * torch.randn(SAMPLES, 1, generator=generator)
    points = torch.rand(RESERVE, 1, generator=generator)
    spread = INTERVAL.low + INTERVAL.width * points
    nothing = torch.zeros(0, 1)
    training = Batch(inputs, truth(inputs) + noise)
    return TrainingData(
        training.rows(torch.arange(SAMPLES).repeat(ROUNDS)),
        Batch(spread, truth(spread)),
        Batch(nothing, nothing),
        INTERVAL,
        "regression",
    )


def starting_net(output: str, seed: int) -> nn.Module:
    """A net of sigmoid units whose steepest points cover the interval.

    Torch's own start leaves units of four sigmoid layers nearly linear, and the net
    nearly constant. The first layer gets slopes up to 4 and centres on the interval,
    the others the uniform start of Glorot and Bengio (AISTATS 2010).
    """
    generator = drawn_from(seed, _START)
    net = NETS[OUTPUTS[output]].build((1,), 1, generator)
    layers = [module for module in net.modules() if isinstance(module, nn.Linear)]
    with torch.no_grad():
        for layer in layers:
            reach = math.sqrt(6.0 / (layer.in_features + layer.out_features))
            layer.weight.uniform_(-reach, reach, generator=generator)
            layer.bias.zero_()
        first = layers[0]
        first.weight.uniform_(INTERVAL.low, INTERVAL.high, generator=generator)
        centres = torch.rand(first.out_features, generator=generator)
        centres = INTERVAL.low + INTERVAL.width * centres
        first.bias.copy_(-first.weight[:, 0] * centres)
    return net


def in_gaps(points: Tensor) -> Tensor:
    """Which of the points lie between the spans."""
    outside = torch.ones_like(points, dtype=torch.bool)
    for low, high in SPANS:
        outside &= (points < low) | (points > high)
    return outside


def _on_spans(shares: Tensor) -> Tensor:
    """Numbers in [0, 1) laid along the spans."""
    left = shares * sum(high - low for low, high in SPANS)
    found = torch.full_like(left, SPANS[-1][1])
    for low, high in SPANS:
        here = (left >= 0.0) & (left < high - low)
        found = torch.where(here, low + left, found)
        left = left - (high - low)
    return found
