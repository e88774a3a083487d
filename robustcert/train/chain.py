"""A live graph cut into linear stretches with bends between them.

A bend follows a line of slope ``centre`` up to a map of constant ``spread``:
``s(z) = centre z + spread phi(z)``, phi of constant 1 in L2. An activation with slopes
in [a, b] has ``centre = (a + b) / 2`` and ``spread = (b - a) / 2``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.execute import apply_linear
from robustcert.graph.layers import (
    LINEAR_KINDS,
    Conv,
    Elementwise,
    Layer,
    LayerGraph,
    Linear,
    MaxPool,
    Shape,
)
from robustcert.graph.transpose import pulled_back
from robustcert.lipschitz.operator_norm import operator_norm_bound
from robustcert.results.norm import Norm
from robustcert.train.live import Contraction


@dataclass(frozen=True, slots=True)
class Bend:
    """``centre z + spread phi(z)``, phi of constant 1.

    Attributes:
        centre: slope of the line.
        spread: how far from it the map may move, >= 0.
    """

    centre: float
    spread: float

    @property
    def steepest(self) -> float:
        """A bound on the bend's own constant."""
        return abs(self.centre) + self.spread


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Linear layers one after the other; shifts play no part.

    Attributes:
        name: distinguishes it from other stretches of its chain.
        layers: perhaps none.
        shape: of its input, without the batch.
    """

    name: str
    layers: tuple[Layer, ...]
    shape: Shape

    def __call__(self, values: Tensor) -> Tensor:
        """``(N, *out)`` from ``(N, *shape)``, without the shifts."""
        for layer in self.layers:
            values = apply_linear(layer, [values])
        return values

    def pulled_back(self, coefficients: Tensor) -> Tensor:
        """The transpose: ``(R, *shape)`` from ``(R, *out)``."""
        sources = [self.shape, *(layer.shape for layer in self.layers[:-1])]
        for layer, source in zip(self.layers[::-1], sources[::-1], strict=False):
            (coefficients,) = pulled_back(layer, coefficients, [source])
        return coefficients

    def after(self, first: Stretch) -> Stretch:
        """``first`` and then this one, as if nothing stood between them."""
        name = f"{first.name}>{self.name}"
        return Stretch(name, first.layers + self.layers, first.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """``stretches[n] . bends[n-1] . ... . bends[0] . stretches[0]``.

    Attributes:
        stretches: n + 1 of them.
        bends: n of them.
        outputs: K, the number of logits.
        like: ``(0,)``, of the dtype and on the device of the weights.
    """

    stretches: tuple[Stretch, ...]
    bends: tuple[Bend, ...]
    outputs: int
    like: Tensor

    def last_rows(self) -> Tensor:
        """``(K, *shape)`` the last stretch's matrix."""
        units = torch.eye(self.outputs, dtype=self.like.dtype, device=self.like.device)
        return self.stretches[-1].pulled_back(units)


def chain_of(graph: LayerGraph) -> Chain:
    """The chain that a live graph is.

    Raises:
        UnsupportedLayerError: a layer is neither linear nor a bend, or reads another
            than the one before it.
    """
    stretches: list[Stretch] = []
    bends: list[Bend] = []
    layers: list[Layer] = []
    start = graph.input_shape
    for position, layer in enumerate(graph.layers[1:]):
        if layer.inputs != (position,):
            raise UnsupportedLayerError(layer.name, "it does not stand in a chain")
        if isinstance(layer, LINEAR_KINDS):
            layers.append(layer)
            continue
        stretches.append(Stretch(str(len(stretches)), tuple(layers), start))
        bends.append(_bend(layer, graph.layers[position].shape))
        layers, start = [], layer.shape
    stretches.append(Stretch(str(len(stretches)), tuple(layers), start))
    return Chain(tuple(stretches), tuple(bends), graph.outputs, _empty_like(graph))


def _bend(layer: Layer, source: Shape) -> Bend:
    match layer:
        case Elementwise():
            low, high = layer.activation.slopes
            return Bend((low + high) / 2.0, (high - low) / 2.0)
        case MaxPool():
            return Bend(0.0, operator_norm_bound(layer, source, Norm.L2))
        case Contraction():
            return Bend(0.0, 1.0)
    raise UnsupportedLayerError(layer.name, f"{layer.kind} has no Lipschitz rule here")


def _empty_like(graph: LayerGraph) -> Tensor:
    """An empty tensor beside the weights; float32 on the CPU where there are none."""
    for layer in graph.layers:
        if isinstance(layer, Linear | Conv):
            return layer.weight.new_empty(0)
    return torch.empty(0)
