"""A graph compiled for LipSDP: activations one after another, linear maps in between.

Between two activations stands the *frontier*: the values that later layers still read,
stacked into one vector. For two inputs x and y the frontier's difference lies in an
ellipsoid of size ``|x - y|``; a stage carries that ellipsoid past one activation layer
and the linear maps behind it. All slopes are brought to [0, 1] when a program is
compiled: ``s(z) = low z + (high - low) s'(z)``, the first part joining the linear maps.

On a torus every map is block-diagonal in frequency, and a program has a leading axis
of F frequencies. Without a torus F is 1. Striding folds A frequencies into one, so
block f' of a map reads the blocks ``f' A, ..., f' A + A - 1`` before it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Unfolding:
    """The way from frequencies to positions: every position becomes a unit of its own.

    Attributes:
        grid: sizes of the torus.
        valid: sizes of the layer on it; only these positions are kept.
        frequencies: ``(F, D)`` whole numbers, the frequencies held, in blocks' order;
            one of each pair ``f, -f``.
        weights: ``(F,)``: 2 where ``-f`` is another frequency, 1 where it is f itself.
    """

    grid: tuple[int, ...]
    valid: tuple[int, ...]
    frequencies: Tensor
    weights: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """One activation layer with slopes in [0, 1], and the maps to the next frontier.

    With the frontier u ``(n,)``, the activation's inputs ``z = u[acted]`` ``(M,)`` and
    its outputs v ``(M,)``, the next frontier is ``carry u + spread v`` ``(n',)``.

    Attributes:
        layer: the activation layer's name.
        units: ``(M,)`` which of the layer's units these are (channels on a torus);
            units whose slope is known take part in ``carry`` alone.
        acted: ``(M,)`` positions of their inputs in the frontier.
        spread: ``(F', A, n', M)``, real, or complex on a torus.
        carry: ``(F', A, n', n)``; ``None`` where nothing is carried on.
        leaves_torus: the next frontier is real: real parts are taken after the sum
            over A, which then runs over all frequencies.
        unfolding: the next frontier is taken apart into positions.
    """

    layer: str
    units: Tensor
    acted: Tensor
    spread: Tensor
    carry: Tensor | None
    leaves_torus: bool = False
    unfolding: Unfolding | None = None

    def to(self, device: torch.device) -> Stage:
        """The stage with its maps on that device."""
        carry = None if self.carry is None else self.carry.to(device)
        return replace(
            self,
            units=self.units.to(device),
            acted=self.acted.to(device),
            spread=self.spread.to(device),
            carry=carry,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """The whole graph: from the input to its outputs.

    Frontier i, the one in front of stage i, is ``2**exponents[i]`` times the graph's
    values, so that no product of weights leaves the range of float64; the last entry
    is that of the outputs. Slopes do not change under such a scaling.

    Attributes:
        start: ``(F, A, n, k)``, the map from the input's k coordinates (or channels).
        stages: in order; the last frontier holds the outputs, F is 1.
        exponents: one a frontier, ``len(stages) + 1`` of them.
        torus: sizes of the torus of each layer on it, by the layer's name.
    """

    start: Tensor
    stages: tuple[Stage, ...]
    exponents: tuple[int, ...]
    torus: dict[str, tuple[int, ...]]

    def __post_init__(self) -> None:
        if len(self.exponents) != len(self.stages) + 1:
            raise ValueError("a program has one exponent a frontier")

    @property
    def units(self) -> tuple[int, ...]:
        """Number of multipliers of each stage."""
        return tuple(len(stage.acted) for stage in self.stages)

    def to(self, device: torch.device) -> Program:
        """The program with its maps on that device."""
        stages = tuple(stage.to(device) for stage in self.stages)
        return replace(self, start=self.start.to(device), stages=stages)
