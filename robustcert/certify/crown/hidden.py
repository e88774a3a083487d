"""Bounds of what every activation sees, for a batch of balls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.certify.crown.balls import Balls, balls_of
from robustcert.certify.crown.errors import (
    faint_errors,
    input_errors,
    layer_errors,
    lowered,
)
from robustcert.certify.crown.first_layer import (
    at_centres,
    is_affine_in_front,
    row_norms,
)
from robustcert.certify.crown.footprint import rows_at_once
from robustcert.certify.crown.forms import Forms, Relaxed, unit_forms
from robustcert.certify.crown.pooling import Choice, choice, contenders
from robustcert.certify.crown.relaxation import Lines, lines_around, open_units
from robustcert.certify.crown.substitution import least_values
from robustcert.certify.interface import CertificationTask
from robustcert.errors import UnsupportedLayerError
from robustcert.graph.layers import (
    LINEAR_KINDS,
    Add,
    AveragePool,
    Concat,
    Conv,
    Elementwise,
    Layer,
    LayerGraph,
    Linear,
    MaxPool,
    Mean,
)
from robustcert.lipschitz.local.intervals import Interval, image
from robustcert.results.norm import Norm
from robustcert.tensors import rows_like

Bounds = Mapping[int, tuple[Tensor, Tensor]]
"""``(N, *shape)`` least and largest outputs, by the layer's position in the graph."""


@dataclass(frozen=True, slots=True, eq=False)
class Enclosure:
    """What is known about a graph on N balls, layer by layer.

    Attributes:
        graph: float64.
        balls: where the inputs lie.
        bounds: of every layer's output so far.
        errors: ``(N, *shape)`` by layer: what rounding may do to a unit's bound.
        lines: of the activations so far, by position.
        faint: ``(N,)`` for each layer: what underflow may cost any form.
    """

    graph: LayerGraph
    balls: Balls
    bounds: list[Interval]
    errors: list[Tensor]
    lines: dict[int, Lines | Choice]
    faint: list[Tensor]

    @property
    def relaxed(self) -> Relaxed:
        """The part that bounds linear forms."""
        return Relaxed(self.graph, self.balls, self.lines)

    @property
    def seen(self) -> Bounds:
        """Bounds of what the activations see."""
        sources = [self.graph.layers[position].inputs[0] for position in self.lines]
        return {i: (self.bounds[i].low, self.bounds[i].high) for i in sources}


Least = Callable[[Enclosure, Forms], Tensor]
"""Lower bounds ``(R,)`` of forms in float64, rounding not considered."""


def hidden_bounds(
    graph: LayerGraph,
    task: CertificationTask,
    radii: Tensor,
    known: Bounds | None = None,
) -> Bounds:
    """Bounds of what every activation of the graph sees, by backward linear bounds.

    Args:
        graph: any; bounds are about it, computed in float64.
        task: N inputs, norm and box; its labels and slack play no part.
        radii: ``(N,)`` float64, in input units.
        known: bounds that hold anyway, such as those of larger balls.

    Returns:
        For the position of every layer that an activation or a max pooling reads,
        float64 bounds ``(N, *shape)``, rounded outwards, infinite where none is known.

    Raises:
        UnsupportedLayerError: a layer has no rule.
    """
    with torch.no_grad():
        exact = graph.to(torch.float64, task.inputs.device)
        return enclosure(exact, balls_of(task, radii), crown_values, known).seen


def enclosure(
    graph: LayerGraph, balls: Balls, least: Least | None, known: Bounds | None = None
) -> Enclosure:
    """Interval bounds everywhere and, with ``least``, better ones of undecided units.

    Args:
        graph: float64.
        balls: N of them.
        least: how undecided units are bounded; ``None`` leaves intervals.
        known: bounds that hold anyway.

    Raises:
        UnsupportedLayerError: a layer has no rule.
    """
    start = [balls.interval]
    found = Enclosure(graph, balls, start, [input_errors(graph, balls)], {}, [])
    for position, layer in enumerate(graph.layers[1:], start=1):
        sources = layer.inputs
        if isinstance(layer, Elementwise | MaxPool):
            _sharpen(found, layer, least, known or {})
            found.lines[position] = _lines(layer, found.bounds[sources[0]])
        elif not isinstance(layer, LINEAR_KINDS):
            raise UnsupportedLayerError(
                layer.name, f"{layer.kind} has no linear bounds"
            )
        bounds = [found.bounds[source] for source in sources]
        errors = [found.errors[source] for source in sources]
        lines = found.lines.get(position)
        found.errors.append(layer_errors(layer, graph, bounds, errors, lines))
        found.faint.extend(faint_errors(source) for source in bounds)
        found.bounds.append(image(layer, graph, bounds))
    return found


def crown_values(known: Enclosure, forms: Forms) -> Tensor:
    """The lines as they are: see :data:`Least`."""
    return least_values(known.relaxed, forms)


def proved_least(
    known: Enclosure, forms: Forms, errors: Tensor, least: Least
) -> Tensor:
    """Lower bounds ``(R,)`` of forms, rounded down.

    Args:
        known: about all layers in front.
        forms: R of them.
        errors: ``(R,)`` what rounding may do to them, underflow apart.
        least: how they are bounded.
    """
    samples = forms.samples
    faint = torch.stack([*known.faint, torch.zeros_like(known.balls.radii)]).sum(dim=0)
    return lowered(least(known, forms), errors + faint[samples])


def _lines(layer: Layer, source: Interval) -> Lines | Choice:
    if isinstance(layer, Elementwise):
        return lines_around(layer.activation, source)
    if isinstance(layer, MaxPool):
        return choice(layer, source)
    raise UnsupportedLayerError(layer.name, f"{layer.kind} has no linear bounds")


def _undecided(layer: Layer, source: Interval) -> Tensor:
    if isinstance(layer, Elementwise):
        return open_units(layer.activation, source)
    if isinstance(layer, MaxPool):
        return contenders(layer, source)
    return torch.ones_like(source.low, dtype=torch.bool)


def _sharpen(
    found: Enclosure, layer: Layer, least: Least | None, known: Bounds
) -> None:
    """Better bounds of what the layer sees, in place."""
    (target,) = layer.inputs
    if target in known:
        found.bounds[target] = found.bounds[target].meet(Interval(*known[target]))
    if _interval_is_exact(found, target):
        return
    if found.balls.norm is Norm.L2 and is_affine_in_front(found.graph, target):
        found.bounds[target] = found.bounds[target].meet(_in_closed_form(found, target))
    before = found.bounds[target]
    if least is None:
        return
    samples, units = _undecided(layer, before).flatten(1).nonzero(as_tuple=True)
    if not len(units):
        return
    low, high = before.low.flatten(1).clone(), before.high.flatten(1).clone()
    errors = found.errors[target].flatten(1)
    chunk = rows_at_once(found.graph, target)
    for rows in torch.split(torch.arange(len(units), device=units.device), chunk):
        at = samples[rows], units[rows]
        forms = unit_forms(found.graph, target, *at)
        both = torch.cat([errors[at], errors[at]])
        lows, negated = proved_least(found, forms, both, least).chunk(2)
        low[at], high[at] = torch.fmax(low[at], lows), torch.fmin(high[at], -negated)
    shape = before.low.shape
    found.bounds[target] = Interval(low.reshape(shape), high.reshape(shape))


def _in_closed_form(found: Enclosure, target: int) -> Interval:
    """Bounds of units that are affine in the input, over l2 balls."""
    middle = at_centres(found.relaxed, target)
    norms = row_norms(found.relaxed, target)
    reach = rows_like(found.balls.radii, middle) * norms
    faint = rows_like(torch.stack(found.faint).sum(dim=0), middle)
    errors = found.errors[target] + faint
    return Interval(lowered(middle - reach, errors), -lowered(-middle - reach, errors))


def _interval_is_exact(found: Enclosure, target: int) -> bool:
    """Whether intervals are exact there: at most one mixing layer, over a box."""
    mixing = 0
    while target > 0:
        layer = found.graph.layers[target]
        if isinstance(layer, Elementwise | MaxPool | Add | Concat):
            return False
        mixing += isinstance(layer, Linear | Conv | AveragePool | Mean)
        (target,) = layer.inputs
    return mixing == 0 or (mixing == 1 and found.balls.norm is Norm.LINF)
