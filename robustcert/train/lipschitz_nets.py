"""Nets whose constant is that of their last layer, whatever they learn before it.

The last layer is a free linear one: a margin's certified radius does not depend on its
scale, and cross-entropy needs one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from robustcert.train.lipschitz_layers import AOLLinear, MaxMin, SLLBlock
from robustcert.train.splines import LinearSpline

Shape = tuple[int, ...]
Build = Callable[[Shape, int, torch.Generator], nn.Module]
"""Maps an input shape without the batch, and a number of outputs, to a fresh net."""


def aol_net(widths: tuple[int, ...]) -> Build:
    """AOL layers of these widths with MaxMin behind each; widths are even."""
    return _aol_layers(widths, MaxMin)


def spline_net(widths: tuple[int, ...]) -> Build:
    """AOL layers of these widths with a linear spline of its own behind each."""
    return _aol_layers(widths, lambda _: LinearSpline())


def _aol_layers(
    widths: tuple[int, ...], activation: Callable[[int], nn.Module]
) -> Build:
    """``activation`` maps a width to the module behind the layer."""

    def build(shape: Shape, outputs: int, generator: torch.Generator) -> nn.Module:
        layers: list[nn.Module] = [nn.Flatten()]
        size = math.prod(shape)
        for width in widths:
            layers += [AOLLinear(size, width, generator), activation(width)]
            size = width
        return nn.Sequential(*layers, _free_linear(size, outputs, generator))

    return build


def sll_net(widths: tuple[int, ...]) -> Build:
    """An SLL block of each width, behind an AOL layer where the width changes."""

    def build(shape: Shape, outputs: int, generator: torch.Generator) -> nn.Module:
        layers: list[nn.Module] = [nn.Flatten()]
        size = math.prod(shape)
        for width in widths:
            if width != size:
                layers.append(AOLLinear(size, width, generator))
            layers.append(SLLBlock(width, width, generator))
            size = width
        return nn.Sequential(*layers, _free_linear(size, outputs, generator))

    return build


def _free_linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """Uniform in +-1 / sqrt(inputs), as torch's own; its bias is 0."""
    layer: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        nn.Linear, inputs, outputs
    )
    reach = 1.0 / math.sqrt(inputs)
    nn.init.uniform_(layer.weight, -reach, reach, generator)
    nn.init.zeros_(layer.bias)
    return layer
