"""From a graph and a ball to a program: layer by layer, only what is alive there."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustcert.certify.branching.confirm import lower_bounds
from robustcert.certify.branching.hidden import Over
from robustcert.certify.branching.program import (
    Bounds,
    Forms,
    Program,
    steepest_slopes,
    whole,
)
from robustcert.certify.branching.region import Region
from robustcert.certify.branching.roundings import roundings
from robustcert.certify.interval_rules import Interval, between, propagate
from robustcert.graph.execute import apply, apply_linear
from robustcert.graph.layers import Elementwise, Layer, LayerGraph
from robustcert.graph.transpose import pulled_back
from robustcert.lipschitz.magnitude import magnitude

MOST_ENTRIES = 2**27
"""Numbers that the matrices of a program may hold: a gibibyte in float64."""

_CHUNK = 2**21
"""Numbers in one tensor while rows are pulled back: moments, after which time is up."""

_ROWS = 256
"""Forms bounded at once: moments, too."""


def _never() -> bool:
    """No limit."""
    return False


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """A net inside one ball.

    Attributes:
        program: float64, of the units that are not off on the whole ball.
        bounds: proved for its units.
        outputs: forms asked about, one per row of a weighting of the logits.
    """

    program: Program
    bounds: Bounds
    outputs: Forms


def encoded(
    graph: LayerGraph, region: Region, weighting: Tensor, over: Over = _never
) -> Encoded | None:
    """The program of a graph inside a region, bounded stage by stage on the way.

    Units get interval bounds first; forms are written out for those that may be on,
    and bounded by backward substitution where the interval leaves them open.

    Args:
        graph: float64, finite, with ReLU as its only activation.
        region: of flattened inputs.
        weighting: ``(P, K)`` float64, entries in {-1, 0, 1}: rows of the logits.
        over: asked often.

    Returns:
        ``None`` where more matrices than :data:`MOST_ENTRIES` were needed, a bound is
        no number, or the time is up.
    """
    draft = _Draft(graph, region, over, roundings=roundings(graph))
    draft.start()
    for position, layer in enumerate(graph.layers[1:], start=1):
        if not isinstance(layer, Elementwise):
            draft.pass_through(layer)
        elif not draft.add_stage(position, layer.inputs[0]):
            return None
    last = len(graph.layers) - 1
    outputs = draft.pulled(last, weighting)
    return Encoded(draft.program, draft.bounds, outputs)


@dataclass(slots=True, eq=False)
class _Draft:
    """What is written so far.

    Attributes:
        intervals: of every layer's output ``(1, *shape)``.
        sizes: largest absolute values ``(1, *shape)`` with absolute values everywhere.
        alive: by position of an activation, its stage and the units kept.
    """

    graph: LayerGraph
    region: Region
    over: Over
    roundings: int
    program: Program = field(init=False)
    bounds: Bounds = field(init=False)
    intervals: list[Interval] = field(default_factory=list)
    sizes: list[Tensor] = field(default_factory=list)
    alive: dict[int, tuple[int, Tensor]] = field(default_factory=dict)
    entries: int = 0

    def start(self) -> None:
        shape = (1, *self.graph.input_shape)
        low, high = (end.reshape(shape) for end in self.region.ends)
        nothing = low.new_zeros(0)
        self.program = Program((), self.region, self.roundings)
        self.bounds = Bounds(nothing, nothing)
        self.intervals.append(between(low, high))
        self.sizes.append(self.region.sizes.reshape(shape))

    def pass_through(self, layer: Layer) -> None:
        sources = [self.intervals[source] for source in layer.inputs]
        self.intervals.append(propagate(layer, sources))
        sizes = [self.sizes[source] for source in layer.inputs]
        self.sizes.append(apply(magnitude(layer), sizes))

    def add_stage(self, position: int, source: int) -> bool:
        """Write the units of an activation; whether there was room and time."""
        rough = self.intervals[source]
        low, high = rough.low.flatten(), rough.high.flatten()
        units = (~(high <= 0.0)).nonzero().flatten()
        if not self._has_room(len(units)):
            return False
        forms = self.unit_forms(source, units)
        if forms is None:
            return False
        bounds = self._bounded(forms, Bounds(low[units], high[units]))
        if bounds is None or not bounds.finite:
            return False
        kept = bounds.high > 0.0
        number = len(self.program.stages)
        self.alive[position] = number, units[kept]
        self._append(forms.rows(kept), bounds.of(kept))
        self._note_outputs(position, units[kept], bounds.of(kept))
        return True

    def unit_forms(self, position: int, units: Tensor) -> Forms | None:
        """Some coordinates ``(U,)`` of a layer's flattened output, as forms.

        ``None`` where the time is up.
        """
        widest = max(layer.size for layer in self.graph.layers[: position + 1])
        size, written = self.graph.layers[position].size, []
        for chunk in torch.split(units, max(1, _CHUNK // widest)):
            if self.over():
                return None
            rows = torch.zeros(len(chunk), size, dtype=torch.float64)
            rows[torch.arange(len(chunk)), chunk] = 1.0
            written.append(self.pulled(position, rows))
        return _joined(written)

    def pulled(self, position: int, rows: Tensor) -> Forms:
        """Rows of weights ``(R, size)`` of a layer's output, as forms."""
        layers = self.graph.layers
        weights = {position: rows.reshape(-1, *layers[position].shape)}
        shift, links = rows.new_zeros(len(rows)), dict[int, Tensor]()
        for place in range(position, 0, -1):
            if place not in weights:
                continue
            weight, layer = weights.pop(place), layers[place]
            if place in self.alive:
                stage, units = self.alive[place]
                links[stage] = weight.flatten(1)[:, units]
                continue
            shapes = [layers[source].shape for source in layer.inputs]
            shift = shift + _constants(layer, weight, shapes)
            backs = pulled_back(layer, weight, shapes)
            for source, back in zip(layer.inputs, backs, strict=True):
                known = weights.get(source)
                weights[source] = back if known is None else known + back
        direct = weights[0].flatten(1) if 0 in weights else None
        sizes = rows.abs() @ self.sizes[position].flatten()
        return Forms(links, direct, shift, sizes)

    def _has_room(self, units: int) -> bool:
        width = self.program.units + self.region.sizes.numel()
        self.entries += units * width
        return self.entries <= MOST_ENTRIES

    def _bounded(self, forms: Forms, bounds: Bounds) -> Bounds | None:
        """Better bounds of units that are open; ``None`` where the time is up."""
        rows = bounds.is_open.nonzero().flatten()
        ends = self._lowest(forms.rows(rows).both_ways())
        if ends is None:
            return None
        low, high = bounds.low.clone(), bounds.high.clone()
        low[rows] = torch.fmax(low[rows], ends[: len(rows)])
        high[rows] = torch.fmin(high[rows], -ends[len(rows) :])
        return Bounds(low, high)

    def _lowest(self, asked: Forms) -> Tensor | None:
        """What forms are at least ``(R,)``; ``None`` where the time is up."""
        leaves, found = whole(steepest_slopes(self.bounds)), []
        for rows in torch.split(torch.arange(len(asked)), _ROWS):
            if self.over():
                return None
            some = asked.rows(rows)
            found.append(lower_bounds(self.program, self.bounds, some, leaves))
        return torch.cat(found)

    def _append(self, forms: Forms, bounds: Bounds) -> None:
        self.program = self.program.followed_by(forms)
        self.bounds = Bounds(
            torch.cat([self.bounds.low, bounds.low]),
            torch.cat([self.bounds.high, bounds.high]),
        )

    def _note_outputs(self, position: int, units: Tensor, bounds: Bounds) -> None:
        layer = self.graph.layers[position]
        low, high = torch.zeros(2, layer.size, dtype=torch.float64)
        low[units], high[units] = bounds.low.clamp(min=0.0), bounds.high
        shape = (1, *layer.shape)
        self.intervals.append(between(low.reshape(shape), high.reshape(shape)))
        self.sizes.append(high.reshape(shape))


def _constants(layer: Layer, weights: Tensor, shapes: list[tuple[int, ...]]) -> Tensor:
    """What the layer's constant part adds to each row ``(R,)``."""
    zeros = [weights.new_zeros(1, *shape) for shape in shapes]
    constant = apply(layer, zeros) - apply_linear(layer, zeros)
    return weights.flatten(1) @ constant.flatten()


def _joined(written: list[Forms]) -> Forms:
    first = written[0]
    if len(written) == 1:
        return first
    directs = [forms.direct for forms in written if forms.direct is not None]
    return Forms(
        {k: torch.cat([forms.links[k] for forms in written]) for k in first.links},
        torch.cat(directs) if directs else None,
        torch.cat([forms.shift for forms in written]),
        torch.cat([forms.sizes for forms in written]),
    )
