"""Random small convolutional nets, and torus programs written out by position."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from robustcert.graph.layers import Elementwise, LayerGraph
from robustcert.lipschitz.lipsdp.frontier import steps
from robustcert.lipschitz.lipsdp.program import Program
from robustcert.lipschitz.lipsdp.torus.layout import layout_of
from tests.unit.lipschitz.graphs import RELU, Sketch


def random_net(seed: int) -> LayerGraph:
    """Two to four random blocks on 5 to 9 positions a side, and a dense head."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=generator))

    dims = 1 if draw(0, 4) == 0 else 2
    net = Sketch(draw(1, 3), *(draw(5, 9) for _ in range(dims)), seed=seed)
    blocks = (_plain, _grouped, _residual, _dense_block, _averaged, _preactivated)
    for _ in range(draw(2, 4)):
        if min(net.layers[-1].shape[1:]) >= 4:
            blocks[draw(0, len(blocks) - 1)](net, draw)
    if not isinstance(net.layers[-1], Elementwise):
        net.act()
    net.flatten()
    if draw(0, 1):
        net.linear(4)
        net.act()
    net.linear(3)
    return net.graph()


def _plain(net: Sketch, draw) -> None:
    dims = len(net.layers[-1].shape) - 1
    net.random_conv(
        draw(1, 3),
        draw(1, 3),
        stride=tuple(draw(1, 2) for _ in range(dims)),
        padding=tuple((draw(0, 2), draw(0, 2)) for _ in range(dims)),
        source=_last(net),
    )
    net.act()


def _grouped(net: Sketch, draw) -> None:
    net.random_conv(4, 3, padding=1, source=_last(net))
    net.act()
    net.random_conv(4, 2, padding=2, dilation=2, groups=draw(1, 2), stride=draw(1, 2))
    net.affine(net.random(4, *(1 for _ in net.layers[-1].shape[1:])))
    net.act()


def _residual(net: Sketch, draw) -> None:
    source, stride = _last(net), draw(1, 2)
    net.random_conv(3, 3, padding=1, stride=stride, source=source)
    net.act()
    deep = net.random_conv(2, 3, padding=1)
    short = net.random_conv(2, 1, stride=stride, source=source)
    net.add(deep, short, weight=0.5)
    net.act()


def _dense_block(net: Sketch, draw) -> None:
    source = _last(net)
    net.random_conv(2, 3, padding=1, source=source)
    grown = net.act()
    net.concat(source, grown)
    net.random_conv(draw(1, 3), 3, padding=1)
    net.act()


def _averaged(net: Sketch, draw) -> None:
    net.average(draw(2, 3), draw(1, 2), draw(0, 1))
    size = draw(1, 2)
    net.random_conv(2, size, padding=size - 1)
    net.act()


def _preactivated(net: Sketch, draw) -> None:
    """The block's sum is linear and is carried past the next activation."""
    first = net.random_conv(2, 1, source=_last(net))
    net.act()
    second = net.random_conv(2, 3, padding=1)
    net.add(first, second)
    total = len(net.layers) - 1
    net.act()
    net.random_conv(2, 3, padding=1)
    net.add(total, len(net.layers) - 1)
    net.act()


def _last(net: Sketch) -> int:
    return len(net.layers) - 1


def with_rectifiers(graph: LayerGraph) -> LayerGraph:
    """Every activation a ReLU: slopes [0, 1], as on a torus."""
    return LayerGraph(
        tuple(
            replace(layer, activation=RELU) if isinstance(layer, Elementwise) else layer
            for layer in graph.layers
        )
    )


class Unrolled:
    """Maps of a torus program between valid positions, in true units.

    A map of frequencies is taken back to positions by inverse Fourier sums, written
    here a second time, one unit after the other.
    """

    def __init__(self, graph: LayerGraph, program: Program) -> None:
        self.graph, self.program = graph, program
        self.walk = steps(graph)
        self.count = len(program.torus)
        self.layout = layout_of(graph, self.walk[: self.count])

    def start(self) -> Tensor:
        matrix = self._map(self.program.start, (0,), self.walk[0].after, 0)
        return math.ldexp(1.0, -self.program.exponents[0]) * matrix

    def stage(self, number: int) -> tuple[Tensor, Tensor | None]:
        """``spread`` and ``carry`` of a stage on the torus."""
        stage, step = self.program.stages[number], self.walk[number + 1]
        ahead = () if stage.leaves_torus else step.after
        spread = self._map(stage.spread, (step.source,), ahead, number + 1)
        carry = None
        if stage.carry is not None:
            carry = self._map(stage.carry, step.before, ahead, number + 1)
        exponents = self.program.exponents
        factor = math.ldexp(1.0, exponents[number] - exponents[number + 1])
        return spread * factor, None if carry is None else carry * factor

    def _map(self, maps: Tensor, sources: tuple, targets: tuple, level: int) -> Tensor:
        into = self._waves(sources, level).conj()
        into = into.reshape(*maps.shape[:2], maps.shape[3], -1)
        rows = (maps @ into).sum(dim=1)
        if not targets:  # the real head: square roots of the weights are in the map
            roots = self.layout.weights.sqrt().to(maps.dtype)
            return torch.einsum("f,fnu->nu", roots, (maps @ into)[0]).real
        weights = self.layout.weights.repeat_interleave(
            len(maps) // len(self.layout.weights)
        )
        out = self._waves(targets, level + 1)
        return torch.einsum("f,fnv,fnu->vu", weights.to(maps.dtype), out, rows).real

    def _waves(self, layers: tuple, level: int) -> Tensor:
        """``(F, channels, units)``: the unitary Fourier basis at valid positions."""
        frequencies = self.layout.frequencies[level]
        parts = []
        for position in layers:
            shape = self.graph.layers[position].shape
            sizes = self._sizes(position)
            places = torch.cartesian_prod(*map(torch.arange, shape[1:]))
            places = places.reshape(-1, len(sizes)).double()
            turns = sum(
                frequencies[:, d, None].double() * places[:, d] / size
                for d, size in enumerate(sizes)
            )
            waves = torch.exp(2j * math.pi * turns) / math.sqrt(math.prod(sizes))
            eye = torch.eye(shape[0], dtype=waves.dtype)
            parts.append(torch.einsum("fp,cd->fcdp", waves, eye).flatten(2))
        return _block_diagonal(parts)

    def _sizes(self, position: int) -> tuple[int, ...]:
        if position in self.layout.sizes:
            return self.layout.sizes[position]
        return self.layout.sizes[self.graph.layers[position].inputs[0]]


def _block_diagonal(parts: list[Tensor]) -> Tensor:
    rows = sum(part.shape[1] for part in parts)
    columns = sum(part.shape[2] for part in parts)
    whole = parts[0].new_zeros(len(parts[0]), rows, columns)
    row = column = 0
    for part in parts:
        whole[:, row : row + part.shape[1], column : column + part.shape[2]] = part
        row, column = row + part.shape[1], column + part.shape[2]
    return whole
