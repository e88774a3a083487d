"""Operator norms, each computed once however many methods ask for it."""

from __future__ import annotations

import hashlib
from dataclasses import fields

from torch import Tensor

from robustcert.graph.layers import Layer, Shape
from robustcert.lipschitz.operator_norm import operator_norm_bound
from robustcert.results.norm import Norm

_IRRELEVANT = frozenset({"name", "inputs", "bias", "shift"})


class NormTable:
    """Norms by what a layer does, not by where it stands or what it is called.

    A layer that folding left alone is the same layer in the folded graph. The table
    belongs to whoever measures one model; nothing in it goes stale.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, float] = {}

    def bound(self, layer: Layer, input_shape: Shape, norm: Norm) -> float:
        """:func:`~robustcert.lipschitz.operator_norm.operator_norm_bound`, remembered.

        Args:
            layer: its tensors in float64 on the CPU.
            input_shape: shape of its input, without the batch.
            norm: of inputs and outputs alike.

        Raises:
            UnsupportedLayerError: the layer's kind has no rule.
        """
        key = _key(layer, input_shape, norm)
        if key not in self._known:
            self._known[key] = operator_norm_bound(layer, input_shape, norm)
        return self._known[key]


def _key(layer: Layer, input_shape: Shape, norm: Norm) -> bytes:
    digest = hashlib.sha256(repr((layer.kind, tuple(input_shape), norm.name)).encode())
    for field in fields(layer):
        value = getattr(layer, field.name)
        if field.name in _IRRELEVANT:
            continue
        digest.update(field.name.encode())
        if isinstance(value, Tensor):
            digest.update(repr((tuple(value.shape), value.dtype)).encode())
            digest.update(value.detach().contiguous().numpy().tobytes())
        else:
            digest.update(repr(value).encode())
    return digest.digest()
