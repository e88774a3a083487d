"""Pairs of inputs, X_Lip of the paper, and how steep a model is between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.errors import SamplesError, UnsoundModelError
from robustcert.results.norm import Norm
from robustcert.results.threat_model import Box
from robustcert.tensors import clip_to_box, lp_norms

Map = Callable[[Tensor], Tensor]
"""A model: ``(B, *shape)`` to ``(B, K)``, each row by itself."""

_NEAREST = 1e-5
"""Nearer pairs, as a share of the box's width, show only rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """N pairs of inputs, ``(N, *shape)`` each."""

    first: Tensor
    second: Tensor

    def __len__(self) -> int:
        """The number of pairs."""
        return len(self.first)

    def joined(self) -> Tensor:
        """``(2 N, *shape)``: all first ends, then all second ends."""
        return torch.cat([self.first, self.second])

    def row(self, chosen: Tensor) -> Pairs:
        """One pair, ``chosen`` being a ``()`` index."""
        return Pairs(self.first[chosen][None], self.second[chosen][None])


def noisy_pairs(
    inputs: Tensor, box: Box, noise: float, generator: torch.Generator
) -> Pairs:
    """Inputs and copies of them with Gaussian noise, in the box.

    Args:
        inputs: ``(N, *shape)``.
        box: of the inputs.
        noise: standard deviation, input units.
        generator: on the CPU.
    """
    drawn = torch.randn(inputs.shape, generator=generator).to(inputs)
    return Pairs(clip_to_box(inputs, box), clip_to_box(inputs + noise * drawn, box))


def sampled(inputs: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``(count, *shape)`` of the inputs, each at most once while there are enough.

    Raises:
        SamplesError: there are none.
    """
    if len(inputs) == 0:
        raise SamplesError(
            "no examples are reserved for the pairs",
            remedy="Reserve a share of the training examples.",
        )
    if count <= len(inputs):
        chosen = torch.randperm(len(inputs), generator=generator)[:count]
    else:
        chosen = torch.randint(len(inputs), (count,), generator=generator)
    return inputs[chosen.to(inputs.device)]


def movements(model: Map, ends: Tensor) -> Tensor:
    """How far the outputs of pairs lie apart, in L2.

    Args:
        model: that they are pairs of.
        ends: ``(2 N, *shape)``, as :meth:`Pairs.joined`.

    Returns:
        ``(N,)``, with finite gradients where two outputs are equal (0 there).

    Raises:
        UnsoundModelError: an output is NaN or infinite.
    """
    first, second = model(ends).chunk(2)
    moved = lp_norms(first - second, Norm.L2)
    if not torch.isfinite(moved.detach()).all():
        raise UnsoundModelError(
            "the model's outputs at a pair of inputs are not finite",
            remedy="Train with a smaller rate or a smaller weight of the penalty.",
        )
    return moved


def quotients(model: Map, ends: Tensor, box: Box) -> Tensor:
    """``|f(x) - f(x')| / |x - x'|`` in L2, the quotient of equation (5).

    A pair whose ends are the same proves nothing: its quotient is 0 and so is its
    gradient, where 0 / 0 would be NaN.

    Args:
        model: that they are pairs of.
        ends: ``(2 N, *shape)``, as :meth:`Pairs.joined`.
        box: of the inputs.

    Returns:
        ``(N,)``.

    Raises:
        UnsoundModelError: an output is NaN or infinite.
    """
    moved = movements(model, ends)
    first, second = ends.chunk(2)
    between = lp_norms(first - second, Norm.L2)
    apart = between.detach() > _NEAREST * box.width
    # The inner `where` keeps 0 / 0 out of the backward pass, the outer one its value.
    divisor = torch.where(apart, between, torch.ones_like(between))
    return torch.where(apart, moved / divisor, torch.zeros_like(moved))
