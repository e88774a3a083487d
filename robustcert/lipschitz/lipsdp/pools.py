"""Max pooling as rectifiers: ``max(a, b) = b + relu(a - b)``, a tree of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.layers import (
    Add,
    Conv,
    Elementwise,
    Layer,
    LayerGraph,
    MaxPool,
    Shape,
)
from robustcert.lipschitz.lipsdp.torus.windows import window_padding

_RELU = Activation(ActivationKind.RELU)


def without_max_pools(graph: LayerGraph) -> LayerGraph:
    """A graph of the same *differences*, each max pooling a tree of rectifiers.

    A window is reduced along one dimension after the other; each of its positions
    along a dimension is a depthwise convolution with one tap, padded with zeros.

    For bounds on differences only: where a window reaches into the padding, the pooling
    takes minus infinity and the tree zero. The pooling's difference is still the
    tree's for some slopes in [0, 1]. If a is padding, ``max(a, b)`` moves as b does,
    which is slope 0. If b is padding, it moves as a does: slope 1, as b's difference is
    zero. If both are, nothing reads the result but a maximum with a real value.

    New layers are called ``"POOL/DIMENSION/tapNUMBER"`` and so on, DIMENSION counting
    the spatial ones from 0.
    """
    tree = _Tree()
    for layer in graph.layers:
        inputs = tuple(tree.places[source] for source in layer.inputs)
        if isinstance(layer, MaxPool):
            tree.places.append(_pooled(tree, layer, inputs[0]))
        else:
            tree.places.append(tree.put(replace(layer, inputs=inputs)))
    return LayerGraph(tuple(tree.layers))


@dataclass(slots=True, eq=False)
class _Tree:
    """Layers written so far, and where each layer of the old graph stands."""

    layers: list[Layer] = field(default_factory=list)
    places: list[int] = field(default_factory=list)

    def put(self, layer: Layer) -> int:
        self.layers.append(layer)
        return len(self.layers) - 1


def _pooled(tree: _Tree, pool: MaxPool, source: int) -> int:
    for dim in range(len(pool.kernel)):
        source = _pooled_along(tree, pool, dim, source)
    return source


def _pooled_along(tree: _Tree, pool: MaxPool, dim: int, source: int) -> int:
    """The maximum along one spatial dimension; its position."""
    taps = [
        tree.put(_selection(tree, pool, dim, tap, source))
        for tap in _taps(pool, dim, tree.layers[source].shape)
    ]
    name, count = f"{pool.name}/{dim}", 0
    while len(taps) > 1:
        odd = len(taps) % 2
        pairs = list(zip(taps[odd::2], taps[odd + 1 :: 2], strict=True))
        taps = taps[:odd]
        for first, second in pairs:
            taps.append(_maximum(tree, f"{name}/max{count}", first, second))
            count += 1
    return taps[0]


def _taps(pool: MaxPool, dim: int, shape: Shape) -> list[int]:
    """The window's positions; the last one is what the tree's rectifiers add to.

    On a torus that one had better be zero off the valid outputs, so that the next
    convolution can be padded without a mask: the first tap that reads, for the output
    behind the last, beyond the input's border.
    """
    outputs, extent = pool.shape[1 + dim], shape[1 + dim]
    step, size = pool.dilation[dim], pool.kernel[dim]
    behind = extent + pool.padding[dim] - pool.stride[dim] * outputs
    base = min(size - 1, max(0, -(-behind // step)))
    return [*(tap for tap in range(size) if tap != base), base]


def _selection(tree: _Tree, pool: MaxPool, dim: int, tap: int, source: int) -> Conv:
    """One position of every window along ``dim``."""
    shape = tree.layers[source].shape
    dims = len(pool.kernel)
    kernel = torch.zeros(pool.kernel[dim], dtype=torch.float64)
    kernel[tap] = 1.0
    weight = kernel.reshape([-1 if i == dim else 1 for i in range(dims)])
    reach = pool.dilation[dim] * (pool.kernel[dim] - 1)
    outputs, stride = pool.shape[1 + dim], pool.stride[dim]
    padding = window_padding(shape[1 + dim], outputs, reach, stride, pool.padding[dim])
    return Conv(
        f"{pool.name}/{dim}/tap{tap}",
        (source,),
        tuple(outputs if i == 1 + dim else n for i, n in enumerate(shape)),
        weight=weight.expand(shape[0], 1, *weight.shape).clone(),
        bias=None,
        stride=tuple(stride if i == dim else 1 for i in range(dims)),
        padding=tuple(padding if i == dim else (0, 0) for i in range(dims)),
        dilation=tuple(pool.dilation[dim] if i == dim else 1 for i in range(dims)),
        groups=shape[0],
    )


def _maximum(tree: _Tree, name: str, first: int, second: int) -> int:
    shape = tree.layers[first].shape
    less = tree.put(Add(f"{name}/difference", (first, second), shape, weight=-1.0))
    rise = tree.put(Elementwise(name, (less,), shape, activation=_RELU))
    return tree.put(Add(f"{name}/sum", (second, rise), shape, weight=1.0))
