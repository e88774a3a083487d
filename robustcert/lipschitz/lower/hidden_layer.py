"""Nets with one hidden layer, all of whose activation patterns are reached.

If the first weight matrix W has full row rank, ``W x + b`` takes every value, so each
unit can be put on either piece, whatever the others do. The largest Jacobian norm over
all patterns is then the Lipschitz constant on R^n, and each pattern proves a part.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.graph.activations import ActivationKind
from robustcert.graph.execute import values
from robustcert.graph.layers import LINEAR_KINDS, Elementwise, LayerGraph
from robustcert.lipschitz.linear_region import region_from_activations, region_matrices
from robustcert.results.norm import Norm

_WIDEST = 1024  # hidden units
_WELL_CONDITIONED = 1e-6  # smallest singular value of W over its largest
_ROUNDS = 500
_POOL = 2**22  # numbers held to compare the flips of one round
_GAIN = 1e-12  # relative


@dataclass(frozen=True, slots=True, eq=False)
class HiddenLayer:
    """``x -> skip x + outer s(inner x + bias)``, float64 on the CPU.

    Attributes:
        inner: ``(m, n)``, of full row rank.
        bias: ``(m,)``.
        outer: ``(K, m)``.
        skip: ``(K, n)``.
        low: slope of s below 0; above it is 1.
    """

    inner: Tensor
    bias: Tensor
    outer: Tensor
    skip: Tensor
    low: float

    def slopes(self, pattern: Tensor) -> Tensor:
        """Slopes ``(..., m)`` of the units, 1 where the pattern is true."""
        return self.low + (1.0 - self.low) * pattern.to(torch.float64)

    def jacobian(self, pattern: Tensor) -> Tensor:
        """``(K, n)``."""
        return self.skip + (self.outer * self.slopes(pattern)) @ self.inner


def hidden_layer(graph: LayerGraph) -> HiddenLayer | None:
    """The net as one hidden layer of ReLU or leaky ReLU units; else ``None``.

    ``None`` too where the first matrix has no full row rank, or the layer is wider
    than 1024.
    """
    bent = [p for p, a in enumerate(graph.layers) if not isinstance(a, LINEAR_KINDS)]
    acting = graph.layers[bent[-1]]
    if len(bent) != 2 or not isinstance(acting, Elementwise):
        return None
    if acting.activation.kind not in (ActivationKind.RELU, ActivationKind.LEAKY_RELU):
        return None
    if acting.size > min(_WIDEST, graph.layers[0].size):
        return None
    wide = graph.to(torch.float64)
    layer = _read(wide, bent[-1], acting.activation.parameters or (0.0,))
    smallest, largest = _extremes(layer.inner)
    return layer if smallest > _WELL_CONDITIONED * largest else None


def best_pattern(layer: HiddenLayer, pattern: Tensor, norm: Norm) -> Tensor:
    """A pattern ``(m,)`` whose Jacobian norm no single flip raises.

    For unit vectors u and v that attain the norm, each unit is put where it adds to
    ``u^T J v``, which never lowers the norm; where that stands still, the best flip is
    made.
    """
    for _ in range(_ROUNDS):
        jacobian = layer.jacobian(pattern)
        value, pull, along = _top(jacobian, norm)
        gains = (pull @ layer.outer) * (layer.inner @ along)
        moved = torch.where(gains == 0.0, pattern, gains * (1.0 - layer.low) > 0.0)
        if torch.equal(moved, pattern):
            unit, norm_there = _best_flip(layer, pattern, jacobian, gains, norm)
            if norm_there <= value * (1.0 + _GAIN):
                return pattern
            moved = pattern.clone()
            moved[unit] = ~moved[unit]
        pattern = moved
    return pattern


def pattern_norm(layer: HiddenLayer, pattern: Tensor, norm: Norm) -> float:
    """The Jacobian's norm where the units are on these pieces."""
    return _top(layer.jacobian(pattern), norm)[0]


def _read(graph: LayerGraph, acting: int, parameters: tuple[float, ...]) -> HiddenLayer:
    source = graph.layers[acting].inputs[0]
    (inner,) = region_matrices(graph, region_from_activations(graph, source))
    outer = region_matrices(
        graph, region_from_activations(graph, len(graph.layers) - 1)
    )
    blocks = {block.source: block.matrix for block in outer}
    origin = torch.zeros(1, *graph.input_shape, dtype=torch.float64)
    with torch.no_grad():
        bias = values(graph, origin)[source].flatten()
    outputs, inputs = graph.outputs, graph.layers[0].size
    return HiddenLayer(
        inner.matrix,
        bias,
        blocks.get(acting, torch.zeros(outputs, len(bias), dtype=torch.float64)),
        blocks.get(0, torch.zeros(outputs, inputs, dtype=torch.float64)),
        parameters[0],
    )


def _extremes(matrix: Tensor) -> tuple[float, float]:
    singular = torch.linalg.svdvals(matrix)
    return float(singular[-1]), float(singular[0])


def _top(jacobian: Tensor, norm: Norm) -> tuple[float, Tensor, Tensor]:
    """The norm, and u ``(K,)`` and v ``(n,)`` with ``u^T J v`` equal to it."""
    if norm is Norm.LINF:
        sums = jacobian.abs().sum(dim=1)
        pull = torch.zeros_like(sums)
        pull[sums.argmax()] = 1.0
        return float(sums.max()), pull, (pull @ jacobian).sign()
    _, vectors = torch.linalg.eigh(jacobian @ jacobian.T)
    pull = vectors[:, -1]
    along = pull @ jacobian
    value = float(along.norm())
    return value, pull, along / max(value, 1e-300)


def _best_flip(
    layer: HiddenLayer, pattern: Tensor, jacobian: Tensor, gains: Tensor, norm: Norm
) -> tuple[int, float]:
    """The flip with the largest norm, among those that promise most."""
    step = (1.0 - layer.low) * (1.0 - 2.0 * pattern.to(torch.float64))
    held = jacobian.numel() if norm is Norm.LINF else len(jacobian) ** 2
    count = max(1, min(len(pattern), _POOL // held))
    units = (gains * step).topk(count).indices
    columns = (layer.outer * step)[:, units].T
    rows = layer.inner[units]
    if norm is Norm.LINF:
        trials = jacobian + columns[:, :, None] * rows[:, None, :]
        norms = trials.abs().sum(dim=2).amax(dim=1)
    else:
        cross = columns[:, :, None] * (rows @ jacobian.T)[:, None, :]
        own = columns[:, :, None] * columns[:, None, :]
        lengths = rows.square().sum(dim=1)[:, None, None]
        grams = jacobian @ jacobian.T + cross + cross.mT + lengths * own
        norms = torch.linalg.eigvalsh(grams)[:, -1].clamp(min=0.0).sqrt()
    best = int(norms.argmax())
    return int(units[best]), float(norms[best])
