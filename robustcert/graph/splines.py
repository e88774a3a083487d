"""Sums of piecewise linear functions of one tensor, read as one spline.

A learned activation is written into a file as what every format has: ``c + sum_k w_k
clamp(x, a_k, b_k)``, or with rectifiers of shifted arguments. Layer by layer its
slopes add up in absolute value; as one function it has the slopes that it has.

Numbers are added and multiplied as fractions. Knots are exact: a sum with a knot that
no float is stays a sum, since what is known of an interval's slopes would depend on
which side of a rounded knot it ends. Slopes and the value at the first knot are the
floats nearest to the exact ones.

References:
    Neumayer, Goujon, Bohra, Unser. Approximation of Lipschitz Functions using Deep
        Spline Neural Networks. SIAM Journal on Mathematics of Data Science 2023.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction

from torch import Tensor

from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.corners import Bend, Line, corners_of
from robustcert.graph.layers import Add, Affine, Elementwise, Layer, LayerGraph
from robustcert.graph.pruning import pruned

FEWEST_BENDS = 3
"""Activations in a sum that is worth a spline; leaky ReLU by ReLU has two."""

MOST_BENDS = 256

_LONGEST = 4096  # bits of a fraction, which grow with every factor of a chain
_LARGEST, _SMALLEST = Fraction(10) ** 100, Fraction(10) ** -100


@dataclass(frozen=True, slots=True)
class _Sum:
    """Weighted parts, all functions of the layer at ``root``, and a shift.

    Attributes:
        root: what they read.
        bends: how many of the parts, and of their parts, are bends.
        parts: weights and what they belong to.
        shift: a constant.
    """

    root: int
    bends: int
    parts: tuple[tuple[Fraction, Line | Bend | _Sum], ...]
    shift: Fraction


def with_splines(graph: LayerGraph) -> LayerGraph:
    """The same function, sums of three activations or more of one tensor being one.

    Layers of a sum stay as they are where another layer reads them, where scales or
    shifts differ from coordinate to coordinate, where a knot is no float, and where
    numbers are beyond 1e100.

    Args:
        graph: float64.
    """
    reading = _Reading(graph)
    for position, layer in enumerate(graph.layers):
        reading.read(position, layer)
    layers = list(graph.layers)
    for position, found in reading.whole_sums():
        activation = _spline(found)
        if activation is not None:
            old = layers[position]
            layers[position] = Elementwise(
                old.name, (found.root,), old.shape, activation=activation
            )
    return LayerGraph(pruned(layers, len(layers) - 1))


@dataclass(slots=True, eq=False)
class _Reading:
    """What each layer read so far is a function of.

    Attributes:
        lines: every layer as a line of one that is none.
        sums: layers that are sums.
        inner: positions of sums that are part of another one.
        readers: how often each layer is read; the output once more.
    """

    graph: LayerGraph
    lines: list[Line] = field(default_factory=list)
    sums: dict[int, _Sum] = field(default_factory=dict)
    inner: set[int] = field(default_factory=set)
    readers: Counter[int] = field(init=False)

    def __post_init__(self) -> None:
        self.readers = Counter(
            source for layer in self.graph.layers for source in layer.inputs
        )
        self.readers[len(self.graph.layers) - 1] += 1

    def read(self, position: int, layer: Layer) -> None:
        """Note what the next layer is."""
        self.lines.append(Line(position, Fraction(1), Fraction(0)))
        shapes = [self.graph.layers[source].shape for source in layer.inputs]
        if any(shape != layer.shape for shape in shapes):
            return
        match layer:
            case Elementwise():
                self._read_bend(position, layer)
            case Affine():
                self._read_affine(position, layer)
            case Add():
                self._read_add(position, layer)

    def whole_sums(self) -> list[tuple[int, _Sum]]:
        """Positions of sums with enough bends that are no part of another one."""
        return [
            (position, found)
            for position, found in self.sums.items()
            if position not in self.inner and found.bends >= FEWEST_BENDS
        ]

    def _read_bend(self, position: int, layer: Elementwise) -> None:
        corners = corners_of(layer.activation)
        if corners is not None:
            line = self.lines[layer.inputs[0]]
            bend = Fraction(1), Bend(corners, line)
            self.sums[position] = _Sum(line.root, 1, (bend,), Fraction(0))

    def _read_affine(self, position: int, layer: Affine) -> None:
        scale, shift = _uniform(layer.scale), _uniform(layer.shift)
        if scale is None or shift is None:
            return
        (source,) = layer.inputs
        line = self.lines[source]
        moved = Line(line.root, scale * line.scale, scale * line.shift + shift)
        if scale != 0 and _is_short(moved.scale) and _is_short(moved.shift):
            self.lines[position] = moved
        inside = self._own_sum(source)
        if inside is not None:
            self._join(position, ((scale, inside, source),), shift)

    def _read_add(self, position: int, layer: Add) -> None:
        if not math.isfinite(layer.weight):
            return
        first, second = layer.inputs
        left, right = self._own_sum(first), self._own_sum(second)
        here: _Sum | Line | None = left
        there: _Sum | Line | None = right
        if left is not None and (right is None or right.root != left.root):
            there = self._line_of(second, left.root)
        elif right is not None and left is None:
            here = self._line_of(first, right.root)
        if here is not None and there is not None:
            weight = Fraction(layer.weight)
            parts = ((Fraction(1), here, first), (weight, there, second))
            self._join(position, parts, Fraction(0))

    def _own_sum(self, position: int) -> _Sum | None:
        """The sum at ``position`` where nothing else reads it."""
        return self.sums.get(position) if self.readers[position] == 1 else None

    def _line_of(self, position: int, root: int) -> Line | None:
        line = self.lines[position]
        return line if line.root == root else None

    def _join(
        self,
        position: int,
        parts: tuple[tuple[Fraction, _Sum | Line, int], ...],
        shift: Fraction,
    ) -> None:
        """Note a sum of weighted parts, each with its position."""
        sums = {place: part for _, part, place in parts if isinstance(part, _Sum)}
        bends = sum(part.bends for part in sums.values())
        if bends <= MOST_BENDS:
            self.inner.update(sums)
            root = next(part.root for part in sums.values())
            weighted = tuple((weight, part) for weight, part, _ in parts)
            self.sums[position] = _Sum(root, bends, weighted, shift)


def _uniform(values: Tensor) -> Fraction | None:
    """The one number that all values are; ``None`` where they differ."""
    if values.numel() == 0:
        return None
    low, high = values.min().item(), values.max().item()
    return Fraction(low) if low == high and math.isfinite(low) else None


def _is_short(number: Fraction) -> bool:
    return number.denominator.bit_length() + number.numerator.bit_length() <= _LONGEST


def _spline(whole: _Sum) -> Activation | None:
    """The sum as one function; ``None`` where it has no knots, or unfit numbers."""
    parts, shift = _flat(whole)
    if not all(_is_short(number) for number in (shift, *(w for w, _ in parts))):
        return None
    jumps = dict[Fraction, Fraction]()
    for weight, part in parts:
        for knot, jump in part.jumps:
            jumps[knot] = jumps.get(knot, Fraction(0)) + weight * jump
    places = sorted(knot for knot, jump in jumps.items() if jump != 0)
    if not places or not _are_moderate(places) or not _are_floats(places):
        return None
    slope = sum((weight * part.slope for weight, part in parts), Fraction(0))
    exact = [slope]
    for place in places:
        slope += jumps[place]
        exact += [place, slope]
    value = sum((weight * part.at(places[0]) for weight, part in parts), shift)
    exact.append(value)
    if not _are_moderate(exact):
        return None
    numbers = tuple(float(number) for number in exact)
    return Activation(ActivationKind.SPLINE, numbers)


def _flat(whole: _Sum) -> tuple[list[tuple[Fraction, Line | Bend]], Fraction]:
    """All lines and bends of a sum of sums with their weights, and its shift."""
    parts: list[tuple[Fraction, Line | Bend]] = []
    shift, pending = Fraction(0), [(Fraction(1), whole)]
    while pending:
        weight, inside = pending.pop()
        shift += weight * inside.shift
        for share, part in inside.parts:
            if isinstance(part, _Sum):
                pending.append((weight * share, part))
            else:
                parts.append((weight * share, part))
    return parts, shift


def _are_moderate(numbers: Iterable[Fraction]) -> bool:
    """Whether each is 0, or a float of full precision with room on both sides."""
    return all(n == 0 or _SMALLEST <= abs(n) <= _LARGEST for n in numbers)


def _are_floats(numbers: Iterable[Fraction]) -> bool:
    """Whether none of them, all moderate, has to be rounded."""
    return all(Fraction(float(number)) == number for number in numbers)
