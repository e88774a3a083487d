"""Which layers stand on a torus, proved position by position.

A layer with *valid* positions ``0 .. extent - 1`` along each dimension is put on a
torus that holds at least these. Two things are kept true from layer to layer:

* at valid positions the torus holds the net's own values;
* where a layer is called *clean*, the difference of two inputs' values is zero
  elsewhere. The input is clean by definition. So is an activation's output: off its
  valid positions the activation is replaced by zero, which is allowed because slopes on
  a torus are widened to contain 0.

A convolution or pooling of the net reads zeros off the valid positions of its input.
On the torus position q is read at q modulo the size N, which holds the same if q is
valid, or if the input is clean and q modulo N is not valid. This is looked up for each
valid output and each tap with a weight, one dimension at a time: a position is off the
valid ones as soon as it is so along one dimension.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from robustcert.errors import CertificateError
from robustcert.graph.layers import (
    Add,
    Affine,
    AveragePool,
    Concat,
    Conv,
    Elementwise,
    Layer,
    LayerGraph,
    Shape,
)
from robustcert.lipschitz.check.definite import Array
from robustcert.lipschitz.check.pull_back import numbers
from robustcert.lipschitz.check.windows import averaging_divisors, window_of

_LARGEST = 2**18
"""Positions of a torus, up to which it is looked at."""


@dataclass(frozen=True, slots=True)
class Torus:
    """Sizes of a layer's torus, and whether the layer is clean."""

    sizes: Shape
    clean: bool


def tori(graph: LayerGraph, claimed: Mapping[int, Shape | None]) -> dict[int, Torus]:
    """The layers that stand on a torus, by position.

    Args:
        graph: without max pooling.
        claimed: torus of each activation as the certificate has it, by position.

    Raises:
        CertificateError: an activation cannot stand on the torus that is claimed.
    """
    found: dict[int, Torus] = {}
    sizes = _input_sizes(graph, claimed)
    if sizes is not None and math.prod(sizes) > _LARGEST:
        raise CertificateError(f"its tori are too large: {sizes} for the input")
    if sizes is not None and _holds(sizes, graph.layers[0].shape):
        found[0] = Torus(sizes, clean=True)
    for position, layer in enumerate(graph.layers[1:], start=1):
        if isinstance(layer, Elementwise):
            torus = _of_activation(layer, claimed[position], found)
        elif all(source in found for source in layer.inputs):
            torus = _of_linear(graph, layer, [found[i] for i in layer.inputs])
        else:
            torus = None
        if torus is not None:
            found[position] = torus
    return found


def channel_scale(layer: Affine) -> Array | None:
    """``(channels,)`` where all positions of a channel have the same scale."""
    scale = np.broadcast_to(numbers(layer.scale), layer.shape)
    flat = scale.reshape(len(scale), -1)
    return flat[:, 0].copy() if bool((flat == flat[:, :1]).all()) else None


def _input_sizes(
    graph: LayerGraph, claimed: Mapping[int, Shape | None]
) -> Shape | None:
    """The input's torus if the claimed ones are right: theirs times the strides."""
    asked: dict[int, Shape] = {}
    for position in range(len(graph.layers) - 1, 0, -1):
        layer = graph.layers[position]
        sizes = claimed.get(position, asked.get(position))
        if sizes is None:
            continue
        if isinstance(layer, Conv | AveragePool) and len(sizes) == len(layer.stride):
            sizes = tuple(n * s for n, s in zip(sizes, layer.stride, strict=True))
        asked.update(dict.fromkeys(layer.inputs, sizes))
    return asked.get(0)


def _of_activation(
    layer: Elementwise, sizes: Shape | None, found: Mapping[int, Torus]
) -> Torus | None:
    if sizes is None:
        return None
    source = found.get(layer.inputs[0])
    if source is None or source.sizes != sizes:
        raise CertificateError(
            f"layer {layer.name!r} cannot stand on a torus of {sizes}: values would "
            "wrap round into one another, or the tori do not fit together"
        )
    return Torus(sizes, clean=True)


def _of_linear(graph: LayerGraph, layer: Layer, sources: list[Torus]) -> Torus | None:
    first = sources[0]
    shapes = [graph.layers[source].shape for source in layer.inputs]
    match layer:
        case Conv() | AveragePool():
            return _of_window(layer, shapes[0], first)
        case Affine() if shapes[0] == layer.shape and channel_scale(layer) is not None:
            return first
        case Add() if all(shape == layer.shape for shape in shapes):
            pass
        case Concat() if layer.dim % len(layer.shape) == 0:
            pass
        case _:
            return None
    if any(source.sizes != first.sizes for source in sources):
        return None
    return Torus(first.sizes, all(source.clean for source in sources))


def _of_window(layer: Conv | AveragePool, shape: Shape, source: Torus) -> Torus | None:
    if any(n % s for n, s in zip(source.sizes, layer.stride, strict=True)):
        return None
    sizes = tuple(n // s for n, s in zip(source.sizes, layer.stride, strict=True))
    if isinstance(layer, AveragePool) and not _divides_evenly(layer, shape):
        return None
    if not (_holds(sizes, layer.shape) and _reads_right(layer, shape, source)):
        return None
    return Torus(sizes, source.clean and _stays_zero(layer, shape, source, sizes))


def _divides_evenly(layer: AveragePool, shape: Shape) -> bool:
    divisors = averaging_divisors(layer, shape[1:])
    return all(
        bool((divisor == size).all())
        for divisor, size in zip(divisors, layer.kernel, strict=True)
    )


def _reads_right(layer: Conv | AveragePool, shape: Shape, source: Torus) -> bool:
    """Whether valid outputs read on the torus what they read in the net."""
    for dim, extent in enumerate(shape[1:]):
        read = _read(layer, dim, range(layer.shape[1 + dim]))
        valid = (read >= 0) & (read < extent)
        elsewhere = read % source.sizes[dim] >= extent
        if not bool((valid | (elsewhere & source.clean)).all()):
            return False
    return True


def _stays_zero(
    layer: Conv | AveragePool, shape: Shape, source: Torus, sizes: Shape
) -> bool:
    """Whether outputs that are not valid read nothing but zeros, the input being clean.

    One dimension in which the output is not valid and all it reads is not is enough.
    """
    for dim, extent in enumerate(shape[1:]):
        outputs = range(layer.shape[1 + dim], sizes[dim])
        read = _read(layer, dim, outputs) % source.sizes[dim]
        if not bool((read >= extent).all()):
            return False
    return True


def _read(layer: Conv | AveragePool, dim: int, outputs: range) -> Array:
    """``(outputs, taps)`` positions read along ``dim`` by taps that have a weight."""
    read = window_of(layer).reads(dim, outputs)
    if isinstance(layer, AveragePool):
        return read
    weight = np.moveaxis(numbers(layer.weight), 2 + dim, 0)
    return read[:, (weight.reshape(len(weight), -1) != 0.0).any(axis=1)]


def _holds(sizes: Shape, shape: Shape) -> bool:
    """Whether the torus has room for all positions of a layer of this shape."""
    return len(sizes) == len(shape) - 1 and all(
        n >= extent for n, extent in zip(sizes, shape[1:], strict=True)
    )
