"""Slices and padding as part of the layers next to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from robustcert.graph.layers import Conv, Gather, Layer, Reshape, Shape

Sides = tuple[tuple[int, int], ...]


def simplified(layers: Sequence[Layer]) -> list[Layer]:
    """The same layers, each at its position, reading past what they can do themselves.

    A convolution takes over zero padding in front of it, so that its windows stay
    windows; a slice and a reshape take over the slice that they read.
    """
    found: list[Layer] = []
    for layer in layers:
        source = found[layer.inputs[0]] if layer.inputs else layer
        match layer, source:
            case Conv(), _:
                found.append(_padded(layer, layers))
            case Reshape(), Gather():
                places = source.places.reshape(layer.shape)
                found.append(Gather(layer.name, source.inputs, layer.shape, places))
            case Gather(), Gather():
                places = _composed(source.places, layer.places)
                found.append(replace(layer, inputs=source.inputs, places=places))
            case _:
                found.append(layer)
    return found


def _composed(first: Tensor, second: Tensor) -> Tensor:
    """Where the second one's coordinates are in what the first one reads."""
    outside = second < 0
    places = first.flatten()[second.clamp(min=0)]
    return places.masked_fill(outside, -1)


def _padded(layer: Conv, layers: Sequence[Layer]) -> Conv:
    """The convolution with the padding of all that only pads, right in front of it."""
    source = layers[layer.inputs[0]]
    while isinstance(source, Gather):
        sides = zero_padding(source, layers[source.inputs[0]].shape)
        if sides is None:
            break
        padding = tuple(
            (own[0] + more[0], own[1] + more[1])
            for own, more in zip(layer.padding, sides, strict=True)
        )
        layer = replace(layer, inputs=source.inputs, padding=padding)
        source = layers[layer.inputs[0]]
    return layer


def zero_padding(layer: Gather, source: Shape) -> Sides | None:
    """What is padded (before, after) in each dimension behind the channels.

    Returns:
        ``None`` where the layer does anything else.
    """
    outside = layer.places < 0
    if len(source) != len(layer.shape) or source[0] != layer.shape[0]:
        return None
    corners = (~outside).nonzero()
    if len(corners) != torch.Size(source).numel():
        return None
    corner = corners[0].tolist()
    box = layer.places
    for dim, (start, size) in enumerate(zip(corner, source, strict=True)):
        if start + size > layer.shape[dim]:
            return None
        box = box.narrow(dim, start, size)
    if not torch.equal(box.flatten(), torch.arange(len(corners), device=box.device)):
        return None
    return tuple(
        (start, whole - size - start)
        for start, size, whole in zip(corner, source, layer.shape, strict=True)
    )[1:]
