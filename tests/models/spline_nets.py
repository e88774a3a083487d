"""Splines as activations: of given pieces, at random, and nets with learned ones."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction

import torch
from torch import nn

from robustcert.graph.activations import Activation, ActivationKind
from robustcert.train.lipschitz_layers import AOLLinear
from robustcert.train.plain import plain
from robustcert.train.splines import LinearSpline


def spline(slopes, knots, value: float) -> Activation:
    """With this value at the first knot."""
    pairs = [number for pair in zip(knots, slopes[1:], strict=True) for number in pair]
    return Activation(ActivationKind.SPLINE, (slopes[0], *pairs, value))


ZIGZAG = spline((0.5, -1.0, 0.25, 0.0, 1.0), (-1.0, 0.3, 1.0, 2.0), 0.2)
PLATEAU = spline((0.0, 3.0, 0.0), (-0.5, 0.7), -1.0)
LONE = spline((-0.75, 2.0), (0.4,), 1.5)
SPLINES = (ZIGZAG, PLATEAU, LONE)


def random_spline(seed: int) -> Activation:
    dice = random.Random(seed)  # noqa: S311 - no secret
    count = dice.choice([1, 2, 5, 9])
    knots = sorted(dice.uniform(-2.0, 2.0) for _ in range(count))
    ways = (-1.0, 0.0, 1.0, dice.uniform(-1.5, 1.5), dice.uniform(-20.0, 20.0))
    slopes = [dice.choice(ways) for _ in range(count + 1)]
    return spline(slopes, knots, dice.uniform(-1.0, 1.0))


def exactly(activation: Activation, point: float) -> Fraction:
    """The spline's value at a point, without rounding."""
    numbers = [Fraction(number) for number in activation.parameters]
    slopes, knots, value = numbers[:-1:2], numbers[1:-1:2], numbers[-1]
    z = Fraction(point)
    if z <= knots[0]:
        return value + slopes[0] * (z - knots[0])
    for slope, start, end in zip(slopes[1:], knots, [*knots[1:], z], strict=True):
        if z <= end:
            return value + slope * (z - start)
        value += slope * (end - start)
    return value + slopes[-1] * (z - knots[-1])


def learned_net(
    widths: tuple[int, ...] = (6, 8, 5, 3), seed: int = 0, spread: float = 0.3
) -> nn.Module:
    """AOL layers with splines between them, parameters far from where they begin."""
    g = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [AOLLinear(inputs, outputs, g), LinearSpline()]
    net = nn.Sequential(*layers[:-1])
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += spread * torch.randn(parameter.shape, generator=g)
    return net


def written_net(widths: tuple[int, ...] = (6, 8, 5, 3), seed: int = 0) -> nn.Module:
    """The same as files hold it."""
    fixed = plain(learned_net(widths, seed))
    return fixed.eval().requires_grad_(requires_grad=False)
