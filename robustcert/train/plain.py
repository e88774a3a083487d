"""Parametrised layers written out: what files hold and every certifier reads."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from robustcert.train.lipschitz_layers import AOLLinear, MaxMin, SLLBlock
from robustcert.train.splines import LinearSpline


class RectifiedResidual(nn.Module):
    """``x + B relu(A x + a)``.

    Attributes:
        inner: ``A x + a``.
        outer: B, without a bias.
    """

    def __init__(self, inner: nn.Linear, outer: nn.Linear) -> None:
        super().__init__()
        self.inner = inner
        self.outer = outer

    def forward(self, inputs: Tensor) -> Tensor:
        """Of the shape of ``inputs``."""
        added: Tensor = self.outer(self.inner(inputs).relu())
        return inputs + added


def plain(model: nn.Module) -> nn.Module:
    """A copy of the model in which nothing is parametrised.

    Layers of :mod:`robustcert.train.lipschitz_layers` become linear maps and ReLU that
    compute the same, learned splines sums of clamps; all else is copied as it is.
    Gradients of the copy do not reach the model.
    """
    return _plain(model, next(model.parameters(), torch.empty(0)))


def _plain(module: nn.Module, like: Tensor) -> nn.Module:
    """``like`` has the dtype and the device of maps without parameters."""
    match module:
        case AOLLinear():
            return _linear(module.effective(), module.bias)
        case SLLBlock():
            inner = _linear(module.raw, module.bias)
            return RectifiedResidual(inner, _linear(module.outward(), None))
        case MaxMin():
            return _written_out(module, like)
        case LinearSpline():
            return module.fixed()
    duplicate = copy.deepcopy(module)
    for name, child in module.named_children():
        setattr(duplicate, name, _plain(child, like))
    return duplicate


def _written_out(module: MaxMin, like: Tensor) -> RectifiedResidual:
    """``max(a, b) = a + relu(b - a)`` and ``min(a, b) = b - relu(b - a)``."""
    half = torch.eye(module.size // 2, dtype=like.dtype, device=like.device)
    inner = _linear(torch.cat([-half, half], dim=1), None)
    return RectifiedResidual(inner, _linear(torch.cat([half, -half]), None))


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    outputs, inputs = weight.shape
    layer: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        nn.Linear,
        inputs,
        outputs,
        bias=bias is not None,
        dtype=weight.dtype,
        device=weight.device,
    )
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer
