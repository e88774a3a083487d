"""Piecewise linear activations and max pooling written with ReLU alone.

Kinks become rectifiers of shifted arguments:

- leaky ReLU of slope s: ``s z + (1 - s) relu(z)``
- clamp to [a, b]: ``a + relu(z - a) - relu(z - b)``
- hard sigmoid: ``(relu(z + 3) - relu(z - 3)) / 6``
- spline with knots t_k and slopes s_k: ``f(t_1) + s_0 (z - t_1) + sum_k (s_k - s_(k-1))
  relu(z - t_k)``, all rectifiers side by side in one layer
- max pooling: a tree of ``max(a, b) = b + relu(a - b)``

The function stays the same up to one rounding of a factor (1 - s, 1/6, s_k - s_(k-1)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.layers import (
    Add,
    Affine,
    Elementwise,
    Gather,
    Layer,
    LayerGraph,
    Linear,
    MaxPool,
    Reshape,
)
from robustcert.graph.piecewise import pieces_of
from robustcert.lipschitz.lipsdp.pools import without_max_pools

RELU = Activation(ActivationKind.RELU)


def rectified(graph: LayerGraph) -> LayerGraph:
    """The same function, with ReLU as its only activation.

    Args:
        graph: float64.

    Raises:
        UnsupportedLayerError: an activation is smooth or in no such form, or a pooling
            window reaches into padding.
    """
    simple = graph
    pools = [layer for layer in graph.layers if isinstance(layer, MaxPool)]
    for pool in pools:
        _require_whole_windows(pool)
    if pools:
        simple = without_max_pools(graph)
    writer = _Writer()
    for layer in simple.layers:
        inputs = tuple(writer.places[source] for source in layer.inputs)
        if isinstance(layer, Elementwise):
            writer.places.append(_activation(writer, layer, inputs[0]))
        else:
            writer.places.append(writer.put(replace(layer, inputs=inputs)))
    return LayerGraph(tuple(writer.layers))


@dataclass(slots=True, eq=False)
class _Writer:
    """Layers written so far, and where each layer of the old graph stands."""

    layers: list[Layer] = field(default_factory=list)
    places: list[int] = field(default_factory=list)

    def put(self, layer: Layer) -> int:
        self.layers.append(layer)
        return len(self.layers) - 1

    def kink(self, like: Layer, part: str, source: int, at: float) -> int:
        """``relu(z - at)``."""
        if at != 0.0:
            source = self.affine(like, f"{part}/shift", source, 1.0, -at)
        name = f"{like.name}/{part}"
        return self.put(Elementwise(name, (source,), like.shape, activation=RELU))

    def affine(
        self, like: Layer, part: str, source: int, scale: float, shift: float
    ) -> int:
        return self.put(
            Affine(
                f"{like.name}/{part}",
                (source,),
                like.shape,
                scale=torch.tensor(scale, dtype=torch.float64),
                shift=torch.tensor(shift, dtype=torch.float64),
            )
        )

    def add(self, like: Layer, part: str, terms: tuple[int, int], weight: float) -> int:
        """``a + weight * b``."""
        return self.put(Add(f"{like.name}/{part}", terms, like.shape, weight=weight))


def _activation(writer: _Writer, layer: Elementwise, source: int) -> int:
    kind, parameters = layer.activation.kind, layer.activation.parameters
    match kind:
        case ActivationKind.RELU:
            return writer.put(replace(layer, inputs=(source,)))
        case ActivationKind.LEAKY_RELU:
            (slope,) = parameters
            bent = writer.kink(layer, "kink", source, 0.0)
            bent = writer.affine(layer, "bend", bent, 1.0 - slope, 0.0)
            return writer.add(layer, "sum", (bent, source), slope)
        case ActivationKind.CLAMP:
            return _clamp(writer, layer, source, parameters[0], parameters[1])
        case ActivationKind.HARDSIGMOID:
            rise = _clamp(writer, layer, source, -3.0, 3.0)
            return writer.affine(layer, "scale", rise, 1.0 / 6.0, 0.5)
        case ActivationKind.SPLINE:
            return _spline(writer, layer, source)
    raise UnsupportedLayerError(
        layer.name,
        f"{kind.value} is not piecewise linear, so branching settles nothing",
        remedy="Certify with crown, or report attacks alone.",
    )


def _clamp(writer: _Writer, layer: Layer, source: int, low: float, high: float) -> int:
    """Either end may be infinite."""
    found = source
    if math.isfinite(low):
        found = writer.kink(layer, "low", source, low)
        found = writer.affine(layer, "floor", found, 1.0, low)
    if math.isfinite(high):
        above = writer.kink(layer, "high", source, high)
        found = writer.add(layer, "cut", (found, above), -1.0)
    return found


def _spline(writer: _Writer, layer: Elementwise, source: int) -> int:
    pieces = pieces_of(layer.activation.parameters)
    first, knots = pieces.slopes[0], torch.tensor(pieces.knots, dtype=torch.float64)
    line = writer.affine(
        layer, "line", source, first, pieces.values[0] - first * pieces.knots[0]
    )
    shape = (*layer.shape, len(knots))
    places = torch.arange(layer.size).reshape(*layer.shape, 1).expand(shape)
    name, one = f"{layer.name}/knots", torch.ones((), dtype=torch.float64)
    copies = writer.put(Gather(name, (source,), shape, places=places))
    moved = Affine(f"{name}/shift", (copies,), shape, scale=one, shift=-knots)
    bent = writer.put(
        Elementwise(f"{name}/bend", (writer.put(moved),), shape, activation=RELU)
    )
    rises = torch.tensor(pieces.slopes, dtype=torch.float64).diff()[None]
    together = (*layer.shape, 1)
    added = Linear(f"{name}/sum", (bent,), together, weight=rises, bias=None)
    flat = Reshape(f"{name}/flat", (writer.put(added),), layer.shape)
    return writer.add(layer, "sum", (line, writer.put(flat)), 1.0)


def _require_whole_windows(pool: MaxPool) -> None:
    if pool.ceil or any(pool.padding):
        raise UnsupportedLayerError(
            pool.name, "max pooling with padding has no rule in branch and bound"
        )
