"""Graphs written by hand, and nets whose Lipschitz constants are known."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.execute import apply, run
from robustcert.graph.layers import (
    Add,
    Affine,
    AveragePool,
    Concat,
    Conv,
    Elementwise,
    Gather,
    Input,
    Layer,
    LayerGraph,
    Linear,
    MaxPool,
    Mean,
    Permute,
    Reshape,
)
from robustcert.lipschitz.interface import Problem
from robustcert.results.norm import Norm
from robustcert.results.threat_model import Box

RELU = Activation(ActivationKind.RELU)
WIDE_BOX = Box(-1.0, 1.0)


class Sketch:
    """Layers put one after another; each method returns the new layer's position."""

    def __init__(self, *shape: int, seed: int = 0, dtype=torch.float64) -> None:
        self.layers: list[Layer] = [Input("input", (), shape)]
        self.generator = torch.Generator().manual_seed(seed)
        self.dtype = dtype

    def graph(self) -> LayerGraph:
        return LayerGraph(tuple(self.layers))

    def random(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=self.dtype)

    def linear(self, weight, bias=None, *, source=None) -> int:
        """``weight`` is a matrix or a number of outputs with random weights."""
        if isinstance(weight, int):
            fan_in = self._shape(source)[-1]
            weight, bias = (
                self.random(weight, fan_in) / fan_in**0.5,
                self.random(weight),
            )
        return self._put(Linear, source, weight=weight, bias=bias)

    def conv(
        self,
        weight,
        bias=None,
        *,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        source=None,
    ) -> int:
        """Numbers stand for all spatial dimensions; padding may be pairs."""
        dims = weight.ndim - 2
        pairs = ((padding, padding),) * dims if isinstance(padding, int) else padding
        return self._put(
            Conv,
            source,
            weight=weight,
            bias=bias,
            stride=_each(stride, dims),
            padding=pairs,
            dilation=_each(dilation, dims),
            groups=groups,
        )

    def random_conv(self, outputs: int, size: int = 3, **settings) -> int:
        shape = self._shape(settings.get("source"))
        fan_in = shape[0] // settings.get("groups", 1)
        kernel = self.random(outputs, fan_in, *(size,) * (len(shape) - 1))
        return self.conv(
            kernel / kernel[0].numel() ** 0.5, self.random(outputs), **settings
        )

    def affine(self, scale, shift=0.0, *, source=None) -> int:
        scale, shift = (
            torch.as_tensor(value, dtype=self.dtype) for value in (scale, shift)
        )
        return self._put(Affine, source, scale=scale, shift=shift)

    def act(self, activation=RELU, *, source=None) -> int:
        return self._put(Elementwise, source, activation=activation)

    def average(self, kernel=2, stride=2, padding=0, *, ceil=False, count=True) -> int:
        dims = len(self._shape(None)) - 1
        return self._put(
            AveragePool,
            None,
            kernel=_each(kernel, dims),
            stride=_each(stride, dims),
            padding=_each(padding, dims),
            ceil=ceil,
            count_padding=count,
        )

    def maximum(self, kernel=2, stride=2, padding=0, dilation=1, *, ceil=False) -> int:
        dims = len(self._shape(None)) - 1
        return self._put(
            MaxPool,
            None,
            kernel=_each(kernel, dims),
            stride=_each(stride, dims),
            padding=_each(padding, dims),
            dilation=_each(dilation, dims),
            ceil=ceil,
        )

    def mean(self, *dims: int, keep: bool = False) -> int:
        return self._put(Mean, None, dims=dims, keep=keep)

    def permute(self, *order: int) -> int:
        return self._put(Permute, None, order=order)

    def gather(self, places) -> int:
        """``places`` are nested lists, or what an operator makes of numbered inputs."""
        return self._put(Gather, None, places=torch.as_tensor(places))

    def zero_pad(self, *sides: int) -> int:
        """Sides as for ``torch.nn.functional.pad``."""
        shape = self._shape(None)
        numbers = torch.arange(torch.Size(shape).numel()).reshape(shape)
        return self.gather(F.pad(numbers, sides, value=-1))

    def flatten(self) -> int:
        source = len(self.layers) - 1
        size = self.layers[source].size
        self.layers.append(Reshape("flatten", (source,), (size,)))
        return source + 1

    def add(self, first: int, second: int, weight: float = 1.0) -> int:
        return self._put(Add, (first, second), weight=weight)

    def concat(self, *sources: int, dim: int = 0) -> int:
        return self._put(Concat, sources, dim=dim)

    def _shape(self, source):
        return self.layers[-1 if source is None else source].shape

    def _put(self, kind, source, **fields) -> int:
        position = len(self.layers)
        inputs = (
            source
            if isinstance(source, tuple)
            else (position - 1 if source is None else source,)
        )
        draft = kind(f"{kind.__name__.lower()}{position}", inputs, (), **fields)
        zeros = [
            torch.zeros(1, *self.layers[i].shape, dtype=self.dtype) for i in inputs
        ]
        shape = tuple(apply(draft, zeros).shape[1:])
        self.layers.append(kind(draft.name, inputs, shape, **fields))
        return position


def _each(value, dims: int) -> tuple[int, ...]:
    return (value,) * dims if isinstance(value, int) else value


def problem(
    graph: LayerGraph,
    norm: Norm = Norm.L2,
    *,
    count: int = 8,
    box: Box = WIDE_BOX,
    seed: int = 0,
) -> Problem:
    """The graph with random inputs in the box."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(count, *graph.input_shape, generator=generator)
    inputs = (box.low + box.width * inputs).to(graph.dtype)
    return Problem(graph, lambda x: run(graph, x), inputs, box, norm, seed)


def random_orthogonal(size: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    square = torch.randn(size, size, generator=generator, dtype=torch.float64)
    return torch.linalg.qr(square).Q


def absolute_value() -> LayerGraph:
    """``|x| = relu(x) + relu(-x)``: constant 1, product of the layers' norms 2."""
    net = Sketch(1)
    net.linear(torch.tensor([[1.0], [-1.0]], dtype=torch.float64))
    net.act()
    net.linear(torch.tensor([[1.0, 1.0]], dtype=torch.float64))
    return net.graph()


def matrix_of(layer: Layer, input_shape: tuple[int, ...]) -> Tensor:
    """The dense matrix of a linear layer, from the identity."""
    size = torch.Size(input_shape).numel()
    basis = torch.eye(size, dtype=torch.float64).reshape(size, *input_shape)
    zero = torch.zeros(1, *input_shape, dtype=torch.float64)
    columns = apply(layer, [basis]) - apply(layer, [zero])
    return columns.flatten(1).T
