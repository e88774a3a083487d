"""Scales and shifts folded into the weights next to them; the function stays the same.

Batch norm after a layer scales the layer's weights; a normalisation before a layer
scales its columns. A shift in front of a zero-padded convolution cannot become a bias,
because the padding is not shifted: it is convolved and stays behind the layer as a
shift that may differ from place to place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from robustcert.graph.execute import apply, apply_linear
from robustcert.graph.gathers import simplified
from robustcert.graph.layers import (
    Affine,
    Conv,
    Gather,
    Layer,
    LayerGraph,
    Linear,
    Permute,
    Reshape,
)

Pair = tuple[Layer, Layer | None]


def folded(graph: LayerGraph) -> LayerGraph:
    """The same function with as few :class:`Affine` layers as possible.

    The result is float64 on the CPU, so that folding costs at most a few units in the
    16th digit of a weight. Layers that the output does not depend on are left out.
    """
    layers = _alive(dict(enumerate(simplified(graph.to(torch.float64).layers))))
    while (simpler := _rewritten(layers)) is not None:
        layers = simpler
    layers = _alive(_simplified(layers))
    places = {old: new for new, old in enumerate(layers)}
    return LayerGraph(
        tuple(
            replace(layer, inputs=tuple(places[source] for source in layer.inputs))
            for layer in layers.values()
        )
    )


def _simplified(layers: dict[int, Layer]) -> dict[int, Layer]:
    """Slices and padding as part of what reads them."""
    places = {old: new for new, old in enumerate(layers)}
    found = simplified(
        [
            replace(layer, inputs=tuple(places[source] for source in layer.inputs))
            for layer in layers.values()
        ]
    )
    return dict(enumerate(found))


def _alive(layers: dict[int, Layer]) -> dict[int, Layer]:
    """The input and the layers that the last one depends on."""
    needed = {0, max(layers)}
    for position in sorted(layers, reverse=True):
        if position in needed:
            needed.update(layers[position].inputs)
    return {position: layers[position] for position in sorted(needed)}


def _rewritten(layers: dict[int, Layer]) -> dict[int, Layer] | None:
    """The layers after the first rule that applies; ``None`` where none does."""
    readers: dict[int, list[int]] = {position: [] for position in layers}
    for position, layer in layers.items():
        for source in layer.inputs:
            readers[source].append(position)
    for position, second in layers.items():
        if _is_identity(second) and _keeps_shape(second, layers):
            return _without(layers, position)
        if len(second.inputs) != 1 or readers[second.inputs[0]] != [position]:
            continue
        pair = _folded_pair(layers, layers[second.inputs[0]], second)
        if pair is not None:
            return _with_pair(layers, second.inputs[0], position, pair)
    return None


def _folded_pair(layers: dict[int, Layer], first: Layer, second: Layer) -> Pair | None:
    rule = _RULES.get((type(first), type(second)))
    if rule is None or not _keeps_shape(first, layers):
        return None
    if isinstance(second, Affine) and second.shape != first.shape:
        return None
    return rule(first, second)


def _with_pair(
    layers: dict[int, Layer], first: int, second: int, pair: Pair
) -> dict[int, Layer]:
    """``pair`` in place of the layers at ``first`` and ``second``."""
    head, tail = pair
    changed = dict(layers)
    changed[first] = replace(head, inputs=layers[first].inputs)
    if tail is None:
        return _without(changed, second)
    changed[second] = replace(tail, inputs=(first,))
    return changed


def _without(layers: dict[int, Layer], position: int) -> dict[int, Layer]:
    """Readers of the layer at ``position`` read its source instead."""
    (source,) = layers[position].inputs
    return {
        place: replace(
            layer,
            inputs=tuple(source if i == position else i for i in layer.inputs),
        )
        for place, layer in layers.items()
        if place != position
    }


def _keeps_shape(layer: Layer, layers: dict[int, Layer]) -> bool:
    """Whether the layer is no :class:`Affine` that copies its input to a larger one."""
    if not isinstance(layer, Affine):
        return True
    return torch.Size(layer.shape) == torch.Size(layers[layer.inputs[0]].shape)


def _is_identity(layer: Layer) -> bool:
    return (
        isinstance(layer, Affine)
        and bool((layer.scale == 1.0).all())
        and bool((layer.shift == 0.0).all())
    )


def _merge(first: Affine, second: Affine) -> Pair:
    """``s' (s x + t) + t' = (s' s) x + (s' t + t')``."""
    scale = first.scale * second.scale
    shift = second.scale * first.shift + second.shift
    return replace(first, scale=scale, shift=shift), None


def _absorb_after(first: Linear | Conv, second: Affine) -> Pair | None:
    """``s (W x + b) + t``: the weights take s; b takes t where it is uniform."""
    scale = _per_channel(second.scale, second, first)
    if scale is None:
        return None
    shift = _per_channel(second.shift, second, first)
    if shift is None and bool((scale == 1.0).all()):
        return None
    weight = first.weight * scale.reshape(-1, *(1,) * (first.weight.ndim - 1))
    bias = None if first.bias is None else first.bias * scale
    if shift is None:
        rest = replace(second, scale=torch.ones_like(second.scale))
        return replace(first, weight=weight, bias=bias), rest
    bias = shift if bias is None else bias + shift
    return replace(first, weight=weight, bias=bias.clone()), None


def _absorb_before(first: Affine, second: Linear | Conv) -> Pair | None:
    """``W (s x + t) + b = (W s) x + b + W t``; W t is as uneven as the padding."""
    scale = _per_channel(first.scale, first, second)
    if scale is None:
        return None
    weight = _columns_scaled(second, scale)
    moved = apply_linear(second, [first.shift.expand(first.shape)[None]])[0]
    unit = torch.ones((), dtype=weight.dtype)
    return (
        replace(second, weight=weight),
        Affine(first.name, (), second.shape, scale=unit, shift=moved),
    )


def _columns_scaled(layer: Linear | Conv, scale: Tensor) -> Tensor:
    """The weight with input channel c multiplied by ``scale[c]``."""
    if isinstance(layer, Linear):
        return layer.weight * scale
    groups = scale.reshape(layer.groups, 1, -1)
    rows = groups.expand(-1, len(layer.weight) // layer.groups, -1).flatten(0, 1)
    return layer.weight * rows.reshape(*rows.shape, *(1,) * (layer.weight.ndim - 2))


def _swap(first: Affine, second: Reshape | Permute) -> Pair:
    """Rearranging commutes with scaling each coordinate."""
    return second, replace(
        first,
        shape=second.shape,
        scale=_rearranged(first.scale, first, second),
        shift=_rearranged(first.shift, first, second),
    )


def _rearranged(values: Tensor, first: Affine, second: Reshape | Permute) -> Tensor:
    if values.numel() == 1:
        return values.reshape(())
    whole = values.expand(first.shape)
    if isinstance(second, Permute):
        return whole.permute(second.order)
    return whole.reshape(second.shape)


def _gathered_after(first: Affine, second: Gather) -> Pair:
    """What is put beside the coordinates is 0, and stays it: its shift is 0."""
    shift = apply(second, [first.shift.expand(first.shape)[None]])[0]
    uneven = first.scale.numel() > 1
    scale = (
        apply(second, [first.scale.expand(first.shape)[None]])[0]
        if uneven
        else first.scale.reshape(())
    )
    return second, replace(first, shape=second.shape, scale=scale, shift=shift)


def _per_channel(
    values: Tensor, layer: Affine, neighbour: Linear | Conv
) -> Tensor | None:
    """``(channels,)`` where ``values`` of ``layer`` differ along the channels alone.

    The channels of a convolution come first, those of a linear layer last.
    """
    axis = -1 if isinstance(neighbour, Linear) else 0
    rows = values.expand(layer.shape).movedim(axis, 0)
    rows = rows.reshape(len(rows), -1)
    uniform = bool((rows == rows[:, :1]).all())
    return rows[:, 0] if uniform else None


_RULES: dict[tuple[type[Layer], type[Layer]], Callable[[Any, Any], Pair | None]] = {
    (Affine, Affine): _merge,
    (Linear, Affine): _absorb_after,
    (Conv, Affine): _absorb_after,
    (Affine, Linear): _absorb_before,
    (Affine, Conv): _absorb_before,
    (Affine, Reshape): _swap,
    (Affine, Permute): _swap,
    (Affine, Gather): _gathered_after,
}
