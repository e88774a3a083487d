"""Dense layers that move no two inputs further apart, whatever their parameters.

Here are their training forms; :func:`robustcert.train.plain.plain` writes them as
linear maps and ReLU, which is what files hold.

References:
    Anil, Lucas, Grosse. Sorting out Lipschitz Function Approximation. ICML 2019.
        (GroupSort; MaxMin is its case of pairs.)
    Prach, Lampert. Almost-Orthogonal Layers for Efficient General-Purpose Lipschitz
        Networks. ECCV 2022, Theorem 1. (AOL.)
    Araujo, Havens, Delattre, Allauzen, Hu. A Unified Algebraic Perspective on Lipschitz
        Neural Networks. ICLR 2023, Theorem 3. (SLL.)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustcert.errors import UsageError


class AOLLinear(nn.Module):
    """``D P x + b`` or ``P D x + b``, of spectral norm at most 1.

    With ``d_i = (sum_j |P P^T|_ij)^-1/2`` on the rows, ``|D P| <= 1``; the same holds
    for the columns with ``P^T P``. The shorter side is taken: its Gram matrix can be
    the identity, and then P is used as it is.

    Args:
        inputs: coordinates read.
        outputs: coordinates returned.
        generator: of the initial weight, which is orthogonal.

    Attributes:
        raw: P, ``(outputs, inputs)``.
        bias: ``(outputs,)``, 0 at first.
    """

    def __init__(self, inputs: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.orthogonal_(self.raw, generator=generator)

    def effective(self) -> Tensor:
        """The weight ``(outputs, inputs)`` that the layer applies."""
        outputs, inputs = self.raw.shape
        if outputs <= inputs:
            return _inverse_root(self.raw @ self.raw.T)[:, None] * self.raw
        return self.raw * _inverse_root(self.raw.T @ self.raw)

    def forward(self, inputs: Tensor) -> Tensor:
        """``(..., outputs)`` from ``(..., inputs)``."""
        return F.linear(inputs, self.effective(), self.bias)


class SLLBlock(nn.Module):
    """``x - 2 W T^-1 relu(W^T x + b)``, of constant at most 1 in L2.

    T is diagonal with ``T_ii = sum_j |W^T W|_ij q_j / q_i``, for any q above 0.

    Args:
        size: coordinates read and returned.
        hidden: units inside.
        generator: of the initial weight, which is orthogonal.

    Attributes:
        raw: ``W^T``, ``(hidden, size)``.
        bias: b, ``(hidden,)``, 0 at first.
        balance: ``log q``, ``(hidden,)``, 0 at first.
    """

    def __init__(self, size: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.empty(hidden, size))
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.balance = nn.Parameter(torch.zeros(hidden))
        nn.init.orthogonal_(self.raw, generator=generator)

    def outward(self) -> Tensor:
        """``-2 W T^-1`` ``(size, hidden)``: what the units add to the input."""
        ratios = (self.balance[None, :] - self.balance[:, None]).exp()
        sums = ((self.raw @ self.raw.T).abs() * ratios).sum(dim=1)
        return -2.0 * self.raw.T / sums.clamp(min=torch.finfo(sums.dtype).tiny)

    def forward(self, inputs: Tensor) -> Tensor:
        """``(..., size)`` from ``(..., size)``."""
        units = F.linear(inputs, self.raw, self.bias).relu()
        return inputs + F.linear(units, self.outward())


class MaxMin(nn.Module):
    """The larger and the smaller of each pair, coordinate i being paired with i + n/2.

    It permutes its input, so gradients pass through it without loss of length.

    Args:
        size: n, even.

    Raises:
        UsageError: n is odd.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        if size % 2:
            raise UsageError(
                f"MaxMin pairs coordinates, and {size} of them cannot be paired",
                remedy="Give each hidden layer an even width.",
            )
        self.size = size

    def forward(self, inputs: Tensor) -> Tensor:
        """``(..., n)``: the larger ones, then the smaller ones."""
        first, second = inputs.chunk(2, dim=-1)
        larger, smaller = torch.maximum(first, second), torch.minimum(first, second)
        return torch.cat([larger, smaller], dim=-1)


def _inverse_root(gram: Tensor) -> Tensor:
    """``(sum_j |G|_ij)^-1/2``; the row of a zero vector has no say in the product."""
    sums = gram.abs().sum(dim=1)
    return sums.clamp(min=torch.finfo(sums.dtype).tiny).rsqrt()
