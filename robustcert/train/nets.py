"""Nets by name, with parameters drawn from a generator of the caller's."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from robustcert.errors import UnknownNameError, UsageError
from robustcert.train.lipschitz_nets import (
    Build,
    Shape,
    aol_net,
    sll_net,
    spline_net,
)

LARGEST_WIDTH = 2**16
KERNEL = 5


@dataclass(frozen=True, slots=True)
class Net:
    """A row of :data:`NETS`.

    Attributes:
        summary: one line for people.
        build: makes the net.
    """

    summary: str
    build: Build


@dataclass(frozen=True, slots=True)
class Family:
    """Nets with widths in their names, such as ``mlp:256,256``.

    Attributes:
        summary: one line for people.
        build: maps the hidden widths to what makes the net.
    """

    summary: str
    build: Callable[[tuple[int, ...]], Build]


def dense(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer, uniform in +-1 / sqrt(inputs) as torch's own."""
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
    _draw(layer, inputs, generator)
    return layer


def convolution(
    channels: int,
    filters: int,
    kernel: int,
    generator: torch.Generator,
    *,
    stride: int = 1,
    padding: int = 0,
) -> nn.Conv2d:
    """A convolution, uniform in +-1 / sqrt(channels * kernel^2) as torch's own."""
    layer = nn.Conv2d(
        channels, filters, kernel, stride=stride, padding=padding, device="meta"
    ).to_empty(device="cpu")
    _draw(layer, channels * kernel**2, generator)
    return layer


def perceptron(widths: Sequence[int], activation: Callable[[], nn.Module]) -> Build:
    """Hidden layers of ``widths``, each followed by an activation; plain outputs."""

    def build(shape: Shape, outputs: int, generator: torch.Generator) -> nn.Module:
        layers: list[nn.Module] = [nn.Flatten()] if len(shape) > 1 else []
        sizes = [math.prod(shape), *widths]
        for inputs, width in itertools.pairwise(sizes):
            layers += [dense(inputs, width, generator), activation()]
        return nn.Sequential(*layers, dense(sizes[-1], outputs, generator))

    return build


def with_sigmoid_output(build: Build) -> Build:
    """The same nets with a sigmoid behind their outputs."""

    def closed(shape: Shape, outputs: int, generator: torch.Generator) -> nn.Module:
        return nn.Sequential(build(shape, outputs, generator), nn.Sigmoid())

    return closed


def madry_convolutional(
    shape: Shape, outputs: int, generator: torch.Generator
) -> nn.Module:
    """The MNIST net of Madry et al., ICLR 2018: conv 32, conv 64, 1,024 units.

    Raises:
        UsageError: inputs are no images ``(C, H, W)`` of at least 4 by 4 pixels.
    """
    if len(shape) != 3 or min(shape[1:]) < 4:
        raise UsageError(
            f"madry-conv takes images of at least 4 by 4 pixels, not shape {shape}",
            remedy="Choose a net mlp:WIDTH,WIDTH for inputs that are no images.",
        )
    channels, height, width = shape
    return nn.Sequential(
        convolution(channels, 32, KERNEL, generator, padding=KERNEL // 2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        convolution(32, 64, KERNEL, generator, padding=KERNEL // 2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        dense(64 * (height // 4) * (width // 4), 1024, generator),
        nn.ReLU(),
        dense(1024, outputs, generator),
    )


_SMALL = perceptron((64, 64), nn.Sigmoid)
_REGRESSION = perceptron((500, 200, 100), nn.Sigmoid)

NETS: dict[str, Net] = {
    "mlp-64-64-sigmoid": Net("64 and 64 sigmoid units", _SMALL),
    "mlp-64-64-sigmoid-output": Net(
        "the same with a sigmoid behind the output", with_sigmoid_output(_SMALL)
    ),
    "mlp-200-80": Net("200 and 80 rectifiers", perceptron((200, 80), nn.ReLU)),
    "mlp-regression": Net("500, 200 and 100 sigmoid units", _REGRESSION),
    "mlp-regression-sigmoid": Net(
        "the same with a sigmoid behind the output", with_sigmoid_output(_REGRESSION)
    ),
    "madry-conv": Net(
        "two 5x5 convolutions with pooling and 1,024 rectifiers", madry_convolutional
    ),
}

FAMILIES: dict[str, Family] = {
    "mlp": Family("rectifiers of any widths", lambda w: perceptron(w, nn.ReLU)),
    "mlp-sigmoid": Family(
        "sigmoid units of any widths", lambda w: perceptron(w, nn.Sigmoid)
    ),
    "lipschitz": Family("AOL layers with MaxMin, of even widths", aol_net),
    "sll": Family("SLL blocks of any widths", sll_net),
    "spline": Family("AOL layers with learned splines, of any widths", spline_net),
}


def net_named(
    name: str, shape: Shape, outputs: int, generator: torch.Generator
) -> nn.Module:
    """A fresh float32 net on the CPU; global generators are not drawn from.

    Args:
        name: a row of :data:`NETS`, or ``FAMILY:WIDTH,WIDTH``.
        shape: of its inputs, without the batch.
        outputs: how many values it returns.
        generator: on the CPU.

    Raises:
        UnknownNameError: neither a net nor a family is called ``name``.
        UsageError: the net does not take inputs of this shape.
    """
    return _build(name)(shape, outputs, generator)


def _build(name: str) -> Build:
    if name in NETS:
        return NETS[name].build
    family, colon, words = name.partition(":")
    widths = [int(word) for word in words.split(",") if word.isdecimal()]
    if family not in FAMILIES or not colon or len(widths) != words.count(",") + 1:
        families = ", ".join(f"{each}:WIDTH,WIDTH" for each in FAMILIES)
        raise UnknownNameError(
            f"no net is called {name!r}; there are {', '.join(NETS)}, {families}"
        )
    if not 0 < min(widths) <= max(widths) <= LARGEST_WIDTH:
        raise UsageError(
            f"{name!r} has a width outside 1 to {LARGEST_WIDTH}",
            remedy="Choose widths that a layer can have.",
        )
    return FAMILIES[family].build(tuple(widths))


def _draw(layer: nn.Module, fan_in: int, generator: torch.Generator) -> None:
    reach = 1.0 / math.sqrt(fan_in)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-reach, reach, generator=generator)
