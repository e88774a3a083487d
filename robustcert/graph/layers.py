"""The layer kinds of a graph, and the graph itself.

Every layer names its inputs by position in :attr:`LayerGraph.layers`, which is in
topological order, and the shape of its output without the batch. Layer classes are
final; a method has one rule per class and refuses a class it has no rule for.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

from robustcert.graph.activations import Activation

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """What all layers have: a name, inputs, and an output shape without the batch."""

    name: str
    inputs: tuple[int, ...]
    shape: Shape

    @property
    def kind(self) -> str:
        """The layer kind's name in documents."""
        return type(self).__name__.lower()

    @property
    def size(self) -> int:
        """Number of output coordinates."""
        return torch.Size(self.shape).numel()

    def to(self, dtype: torch.dtype, device: torch.device) -> Self:
        """The same layer with its tensors moved, and its real numbers converted."""
        tensors: dict[str, Any] = {
            f.name: value.to(device, dtype if value.is_floating_point() else None)
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(self, **tensors)


@dataclass(frozen=True, slots=True, eq=False)
class Input(Layer):
    """The model's input."""


@dataclass(frozen=True, slots=True, eq=False)
class Linear(Layer):
    """``weight @ x + bias`` along the last dimension; weight ``(out, in)``."""

    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class Conv(Layer):
    """Convolution in 1 or 2 dimensions with zero padding.

    ``weight`` is ``(out, in / groups, *kernel)``; ``padding`` has one (before, after)
    pair a spatial dimension.
    """

    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int


@dataclass(frozen=True, slots=True, eq=False)
class Affine(Layer):
    """``scale * x + shift`` elementwise (batch norm, constants).

    Both tensors broadcast against ``(*shape)`` without the batch.
    """

    scale: Tensor
    shift: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Elementwise(Layer):
    """An activation function."""

    activation: Activation


@dataclass(frozen=True, slots=True, eq=False)
class AveragePool(Layer):
    """Average pooling, or an adaptive one that divides its input evenly."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    ceil: bool
    count_padding: bool


@dataclass(frozen=True, slots=True, eq=False)
class Mean(Layer):
    """Mean over ``dims`` (of the shape without the batch); ``keep`` keeps them as 1."""

    dims: tuple[int, ...]
    keep: bool


@dataclass(frozen=True, slots=True, eq=False)
class MaxPool(Layer):
    """Max pooling; padding counts as minus infinity."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    ceil: bool


@dataclass(frozen=True, slots=True, eq=False)
class Reshape(Layer):
    """The same coordinates, in the same order, in another shape."""


@dataclass(frozen=True, slots=True, eq=False)
class Permute(Layer):
    """Dimensions in another order; ``order`` is of the shape without the batch."""

    order: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Gather(Layer):
    """Each output coordinate is a coordinate of the input, or 0.

    What slices, flips, repetitions and padding do. ``places`` is int64 and of the
    output's shape: positions in the flattened input, in row-major order, or -1 for 0.
    """

    places: Tensor

    @property
    def most_uses(self) -> int:
        """How many output coordinates read the same input coordinate, at most."""
        read = self.places[self.places >= 0]
        return int(torch.bincount(read, minlength=1).max())


@dataclass(frozen=True, slots=True, eq=False)
class Add(Layer):
    """``a + weight * b``, ``weight`` being 1 for a sum and -1 for a difference."""

    weight: float


@dataclass(frozen=True, slots=True, eq=False)
class Concat(Layer):
    """Inputs one after the other along ``dim`` (of the shape without the batch)."""

    dim: int


LAYER_KINDS: tuple[type[Layer], ...] = (
    Input,
    Linear,
    Conv,
    Affine,
    Elementwise,
    AveragePool,
    Mean,
    MaxPool,
    Reshape,
    Permute,
    Gather,
    Add,
    Concat,
)

LINEAR_KINDS: tuple[type[Layer], ...] = (
    Linear,
    Conv,
    Affine,
    AveragePool,
    Mean,
    Reshape,
    Permute,
    Gather,
    Add,
    Concat,
)
"""Kinds that are affine maps of their inputs."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerGraph:
    """A model read as layers; the last layer's output are the logits.

    Invariants: ``layers[0]`` is the only :class:`Input`; every layer's inputs stand
    before it; the last layer has shape ``(K,)``, K >= 1. Where K is 1 the model is
    binary, and class 1 wins above 0.
    """

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not self.layers or type(self.layers[0]) is not Input:
            raise ValueError("the first layer of a graph is its input")
        for position, layer in enumerate(self.layers):
            if any(source >= position for source in layer.inputs):
                raise ValueError(f"layer {layer.name!r} reads a later layer")

    @property
    def input_shape(self) -> Shape:
        """Shape of one input."""
        return self.layers[0].shape

    @property
    def outputs(self) -> int:
        """Number of logits."""
        return self.layers[-1].size

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights, float64 where there are none."""
        for layer in self.layers:
            for f in fields(layer):
                value = getattr(layer, f.name)
                if isinstance(value, Tensor) and value.is_floating_point():
                    return value.dtype
        return torch.float64

    def to(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> LayerGraph:
        """The same graph with its tensors converted."""
        place = torch.device(device)
        return LayerGraph(tuple(layer.to(dtype, place) for layer in self.layers))

    def consumers(self, position: int) -> tuple[int, ...]:
        """Positions of the layers that read the layer at ``position``."""
        return tuple(
            reader
            for reader, layer in enumerate(self.layers)
            if position in layer.inputs
        )
