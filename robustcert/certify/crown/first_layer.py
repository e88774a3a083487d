"""Closed bounds, over l2 balls, of units that are affine in the input.

A unit ``a . x + c`` moves by ``r |a|_2`` at most, and ``a`` is the same for all
samples. For a convolution with padding it is the unit's own row that counts: rows at
the edge are shorter than the kernel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustcert.certify.crown.footprint import rows_at_once
from robustcert.certify.crown.forms import Relaxed, unit_forms
from robustcert.certify.crown.patches import Patch, inside, values_of
from robustcert.certify.crown.substitution import input_rows
from robustcert.graph.execute import apply
from robustcert.graph.layers import LINEAR_KINDS, LayerGraph


def is_affine_in_front(graph: LayerGraph, target: int) -> bool:
    """Whether a layer's output is an affine function of the input."""
    return all(
        isinstance(graph.layers[i], LINEAR_KINDS) for i in _behind(graph, target)
    )


def at_centres(relaxed: Relaxed, target: int) -> Tensor:
    """Outputs ``(N, *shape)`` of an affine layer at the balls' centres."""
    graph, found = relaxed.graph, {0: relaxed.balls.centres}
    for position in sorted(_behind(graph, target)):
        layer = graph.layers[position]
        found[position] = apply(layer, [found[source] for source in layer.inputs])
    return found[target]


def row_norms(relaxed: Relaxed, target: int) -> Tensor:
    """L2 norms ``(*shape)`` of the units' coefficients of the input.

    Args:
        relaxed: its lines play no part.
        target: position of a layer that is affine in the input.
    """
    layer, first = relaxed.graph.layers[target], relaxed.graph.layers[0]
    units = torch.arange(layer.size, device=relaxed.balls.radii.device)
    parts = []
    for chunk in torch.split(units, rows_at_once(relaxed.graph, target)):
        both = unit_forms(relaxed.graph, target, torch.zeros_like(chunk), chunk)
        forms = both.taken(torch.arange(len(chunk), device=chunk.device))
        rows = input_rows(relaxed, forms)
        if rows is None:
            parts.append(relaxed.balls.radii.new_zeros(len(chunk)))
            continue
        shown = inside(rows, first.shape) if isinstance(rows, Patch) else rows
        parts.append(torch.linalg.vector_norm(values_of(shown).flatten(1), dim=1))
    return torch.cat(parts).reshape(layer.shape)


def _behind(graph: LayerGraph, target: int) -> set[int]:
    """Positions of a layer and all that it depends on, without the input."""
    found, pending = set[int](), [target]
    while pending:
        position = pending.pop()
        if position > 0 and position not in found:
            found.add(position)
            pending.extend(graph.layers[position].inputs)
    return found
