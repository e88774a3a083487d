"""Linear forms of a layer's outputs, and the relaxed graph they live on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.certify.crown.balls import Balls
from robustcert.certify.crown.patches import (
    Patch,
    Rows,
    smaller_form,
    values_of,
    with_values,
)
from robustcert.certify.crown.pooling import Choice
from robustcert.certify.crown.relaxation import Lines
from robustcert.graph.layers import Layer, LayerGraph, Linear


@dataclass(frozen=True, slots=True, eq=False)
class Relaxed:
    """A graph with its activations replaced by lines, on N balls.

    Attributes:
        graph: in the dtype of everything else.
        balls: where the inputs lie.
        lines: by position, of every activation in front of what is asked about.
    """

    graph: LayerGraph
    balls: Balls
    lines: Mapping[int, Lines | Choice]

    def on(self, graph: LayerGraph) -> Relaxed:
        """The same on the same graph in another dtype: for searches."""
        lines = {i: held.to(graph.dtype) for i, held in self.lines.items()}
        return Relaxed(graph, self.balls.to(graph.dtype), lines)


@dataclass(slots=True, eq=False)
class Forms:
    """R linear forms of the outputs of some layers.

    Attributes:
        samples: ``(R,)`` int64, whose ball a form lives on.
        coefficients: by the layer's position.
        shift: ``(R,)``.
        slopes: lower slopes by activation, laid out like the coefficients that pass
            there, used where a slope is free; missing ones are added. ``None`` takes
            the lines as they are.
    """

    samples: Tensor
    coefficients: dict[int, Rows]
    shift: Tensor
    slopes: dict[int, Tensor] | None = None

    def taken(self, rows: Tensor) -> Forms:
        """The forms at ``rows``, without slopes."""
        chosen: dict[int, Rows] = {}
        for position, held in self.coefficients.items():
            if isinstance(held, Patch):
                chosen[position] = Patch(held.values[rows], held.corners[rows])
            else:
                chosen[position] = held[rows]
        return Forms(self.samples[rows], chosen, self.shift[rows])

    def to(self, dtype: torch.dtype) -> Forms:
        """The same in another dtype, without slopes."""
        converted = {
            position: with_values(held, values_of(held).to(dtype))
            for position, held in self.coefficients.items()
        }
        return Forms(self.samples, converted, self.shift.to(dtype))


def unit_forms(graph: LayerGraph, target: int, samples: Tensor, units: Tensor) -> Forms:
    """``z_u`` for R units of a layer, then ``-z_u`` for the same: 2 R forms.

    Args:
        graph: gives the dtype.
        target: the layer's position.
        samples: ``(R,)``.
        units: ``(R,)`` positions in the layer's flattened output.
    """
    layer = graph.layers[target]
    shift = torch.zeros(len(units), dtype=graph.dtype, device=units.device)
    source, rows = target, _unit_rows(layer, units, shift)
    if isinstance(layer, Linear) and len(layer.shape) == 1:
        (source,) = layer.inputs
        rows = layer.weight[units]
        shift = shift if layer.bias is None else layer.bias[units]
    values = values_of(rows)
    both = torch.cat([values, -values])
    held: Rows = both
    if isinstance(rows, Patch):
        held = Patch(both, torch.cat([rows.corners, rows.corners]))
    return Forms(
        torch.cat([samples, samples]), {source: held}, torch.cat([shift, -shift])
    )


def _unit_rows(layer: Layer, units: Tensor, like: Tensor) -> Rows:
    rows = like.new_zeros(len(units), *layer.shape)
    every = torch.arange(len(units), device=units.device)
    if len(layer.shape) != 3:
        rows.flatten(1)[every, units] = 1.0
        return rows
    _, high, wide = layer.shape
    plane = high * wide
    values = like.new_zeros(len(units), layer.shape[0], 1, 1)
    values[every, units // plane] = 1.0
    corners = torch.stack([units % plane // wide, units % wide], dim=1)
    return smaller_form(Patch(values, corners), layer.shape)
