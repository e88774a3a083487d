"""Steps with a penalty, as the loop takes them, and models with known slopes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustcert.train.interface import Moment, Penalty


def look(model: nn.Module, penalty: Penalty, weight: float, epoch: int = 0) -> float:
    """One step but for the optimiser; the value, NaN where the weight is 0."""
    model.zero_grad()
    value = torch.tensor(torch.nan)
    if weight > 0.0:
        value = penalty.value(model, Moment(epoch, 0, 1))
        if value.requires_grad:
            (weight * value).backward()
    penalty.after_backward(model, weight)
    return value.item()


class Parabola(nn.Module):
    """``f(x) = a x^2``: between x and x' above 0 the quotient is ``a (x + x')``."""

    def __init__(self, a: float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a))

    def forward(self, x: Tensor) -> Tensor:
        return self.a * x.square()


def linear(*rows: list[float]) -> nn.Linear:
    """A linear model without offset."""
    matrix = torch.tensor(rows)
    layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False)
    layer.weight.data.copy_(matrix)
    return layer


def small_net(activation: type[nn.Module], seed: int = 0) -> nn.Module:
    """A net on ``(1, 4, 4)`` pictures with three outputs, steep enough to climb."""
    generator = torch.Generator().manual_seed(seed)
    net = nn.Sequential(
        nn.Flatten(),
        nn.Linear(16, 24),
        activation(),
        nn.Linear(24, 12),
        activation(),
        nn.Linear(12, 3),
    )
    for parameter in net.parameters():
        parameter.data.normal_(0.0, 0.5, generator=generator)
    return net


def pictures(count: int, seed: int = 1) -> Tensor:
    """``(count, 1, 4, 4)`` in the unit box; a third of the pixels lie on its faces."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(count, 1, 4, 4, generator=generator) * 1.5 - 0.25).clamp(0, 1)
