"""A ReLU net over a region as rows with big constants.

An unstable unit z in [l, u] gets its output a and a binary d::

    a >= z,   a <= z - l (1 - d),   0 <= a <= u d.

Units that are settled on the region need neither. Every row is relaxed by what rounding
did to it, so that each input of the region, with its activations, satisfies all rows.

Reference:
    Tjeng, Xiao, Tedrake. Evaluating Robustness of Neural Networks with Mixed Integer
    Programming. ICLR 2019, section 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustcert.certify.milp.forms import (
    Forms,
    joined,
    of_variables,
    through_linear,
    through_settled,
)
from robustcert.errors import UnsupportedLayerError
from robustcert.graph.activations import ActivationKind
from robustcert.graph.layers import (
    LINEAR_KINDS,
    Elementwise,
    Input,
    Layer,
    LayerGraph,
)
from robustcert.lipschitz.local.enclosure import enclosure
from robustcert.lipschitz.local.intervals import Interval
from robustcert.lipschitz.local.region import Region
from robustcert.lipschitz.rounding import UNIT

MOST_UNSTABLE = 64
"""Units of open sign that a program may hold; the work may double with each."""

LARGEST = 2**24
"""Numbers that the forms of one layer may hold."""


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """``rows v <= limits``, ``low <= v <= high``; v: inputs, then (a, d) by turns.

    Attributes:
        rows: ``(M, V)``.
        limits: ``(M,)``.
        low: ``(V,)``.
        high: ``(V,)``.
        inputs: n, the number of input coordinates.
        outputs: forms ``(K,)`` of the graph's outputs.
    """

    rows: Tensor
    limits: Tensor
    low: Tensor
    high: Tensor
    inputs: int
    outputs: Forms

    @property
    def binaries(self) -> Tensor:
        """``(U,)`` positions of the binary variables."""
        return torch.arange(self.inputs, len(self.low))[1::2]


def require_relu_net(graph: LayerGraph) -> None:
    """Raise unless the graph is linear maps and rectifiers.

    Raises:
        UnsupportedLayerError: names the first other layer.
    """
    for layer in graph.layers:
        if isinstance(layer, Elementwise):
            if layer.activation.kind is not ActivationKind.RELU:
                kind = layer.activation.kind.value
                raise UnsupportedLayerError(
                    layer.name, f"{kind} has no rule in milp, which knows relu alone"
                )
        elif not isinstance(layer, (Input, *LINEAR_KINDS)):
            raise UnsupportedLayerError(layer.name, f"{layer.kind} has no rule in milp")


def encoded(graph: LayerGraph, region: Region) -> Encoding:
    """The graph over the region.

    Args:
        graph: float64, on the CPU, of a kind that :func:`require_relu_net` passes.
        region: an L-infinity ball, perhaps cut by a box.

    Raises:
        UnsupportedLayerError: more than :data:`MOST_UNSTABLE` units are unstable, or
            the forms are too large.
    """
    seen = enclosure(graph, region, {})
    unstable = {name: _open_units(bounds) for name, bounds in seen.items()}
    count = sum(int(units.sum()) for units in unstable.values())
    inputs = graph.layers[0].size
    for layer in graph.layers:
        _require_small(layer, count, inputs + 2 * count)
    writer = _Writer(graph, region.interval, count)
    for position, layer in enumerate(graph.layers[1:], start=1):
        if isinstance(layer, Elementwise):
            writer.activate(position, seen[layer.name], unstable[layer.name])
        else:
            writer.apply(layer)
    return writer.encoding()


def _require_small(layer: Layer, unstable: int, variables: int) -> None:
    if unstable > MOST_UNSTABLE:
        raise UnsupportedLayerError(
            layer.name,
            f"the net has {unstable} unstable units in the ball, and milp takes "
            f"{MOST_UNSTABLE}",
            remedy="Certify by branch-and-bound, or ask for a smaller ball.",
        )
    if layer.size * variables > LARGEST:
        raise UnsupportedLayerError(
            layer.name, f"{layer.size} units are too many for milp"
        )


def _open_units(bounds: Interval) -> Tensor:
    """``(*shape)``: where the sign is not settled."""
    return ((bounds.low < 0.0) & (bounds.high > 0.0))[0]


@dataclass(slots=True, eq=False)
class _Writer:
    """Walks the graph, and writes rows on the way."""

    graph: LayerGraph
    box: Interval
    unstable: int
    forms: list[Forms] = field(default_factory=list)
    rows: list[Tensor] = field(default_factory=list)
    limits: list[Tensor] = field(default_factory=list)
    low: list[Tensor] = field(default_factory=list)
    high: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        shape = self.graph.input_shape
        inputs = self.graph.layers[0].size
        columns = torch.zeros(inputs + 2 * self.unstable, inputs, dtype=torch.float64)
        columns[torch.arange(inputs), torch.arange(inputs)] = 1.0
        columns = columns.reshape(-1, *shape)
        self.forms.append(of_variables(columns, self.box.size[0]))
        self.low.append(self.box.low.flatten())
        self.high.append(self.box.high.flatten())

    def apply(self, layer: Layer) -> None:
        """A linear layer."""
        sources = [self.forms[i] for i in layer.inputs]
        shape = self.graph.layers[layer.inputs[0]].shape
        self.forms.append(through_linear(layer, sources, shape))

    def activate(self, position: int, seen: Interval, units: Tensor) -> None:
        """A rectifier, whose input is ``seen`` and open at ``units``."""
        forms = self.forms[self.graph.layers[position].inputs[0]]
        passing = (seen.low[0] >= 0.0).to(torch.float64)
        settled = through_settled(forms, passing)
        if not bool(units.any()):
            self.forms.append(settled)
            return
        columns = torch.zeros_like(forms.columns).flatten(1)
        places = units.flatten().nonzero()[:, 0]
        first = sum(len(part) for part in self.low)
        variables = first + 2 * torch.arange(len(places))
        columns[variables, places] = 1.0
        size = torch.maximum(forms.size, seen.high[0].clamp(min=0.0))
        own = of_variables(columns.reshape(forms.columns.shape), size)
        self._write(forms, places, variables, seen)
        self.forms.append(joined(units, own, settled))

    def _write(
        self, forms: Forms, places: Tensor, variables: Tensor, seen: Interval
    ) -> None:
        z = forms.columns.flatten(1)[:, places].T
        shift, blur = forms.shift.flatten()[places], forms.blur.flatten()[places]
        low, high = seen.low.flatten()[places], seen.high.flatten()[places]
        order = torch.arange(len(places))
        above, below, cut = z.clone(), -z, torch.zeros_like(z)
        above[order, variables] -= 1.0
        below[order, variables] += 1.0
        below[order, variables + 1] -= low
        cut[order, variables] = 1.0
        cut[order, variables + 1] = -high
        ease = blur + 8.0 * UNIT * (shift.abs() + low.abs())
        self.rows += [above, below, cut]
        self.limits += [-shift + ease, shift - low + ease, torch.zeros_like(shift)]
        nothing, one = torch.zeros_like(high), torch.ones_like(high)
        self.low.append(torch.stack([nothing, nothing], dim=1).flatten())
        self.high.append(torch.stack([high, one], dim=1).flatten())

    def encoding(self) -> Encoding:
        """What was written."""
        low, high = torch.cat(self.low), torch.cat(self.high)
        empty = torch.zeros(0, len(low), dtype=torch.float64)
        none = torch.zeros(0, dtype=torch.float64)
        return Encoding(
            torch.cat([empty, *self.rows]),
            torch.cat([none, *self.limits]),
            low,
            high,
            self.graph.layers[0].size,
            self.forms[-1],
        )
