"""A net inside one ball, as affine forms of the units that are alive there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from robustcert.certify.branching.region import Region
from robustcert.certify.branching.weights import (
    Weight,
    compressed,
    times,
    times_turned,
    whole_matrix,
)


@dataclass(frozen=True, slots=True, eq=False)
class Forms:
    """R affine forms of the input and of rectified units.

    Attributes:
        links: by stage j the coefficients ``(R, n_j)`` of its units' outputs.
        direct: ``(R, D)`` coefficients of the input; ``None`` where it is not read.
        shift: ``(R,)``.
        sizes: ``(R,)`` the same forms with absolute values everywhere, at the largest
            values there are: what rounding errors are relative to.
    """

    links: Mapping[int, Tensor]
    direct: Tensor | None
    shift: Tensor
    sizes: Tensor

    def __len__(self) -> int:
        """The number of forms."""
        return self.shift.shape[0]

    def rows(self, chosen: Tensor) -> Forms:
        """The forms at positions ``chosen`` (or where a mask is true)."""
        return Forms(
            {stage: weight[chosen] for stage, weight in self.links.items()},
            None if self.direct is None else self.direct[chosen],
            self.shift[chosen],
            self.sizes[chosen],
        )

    def both_ways(self) -> Forms:
        """The forms, then their negatives: lower bounds of these are upper bounds."""
        return Forms(
            {stage: torch.cat([w, -w]) for stage, w in self.links.items()},
            None if self.direct is None else torch.cat([self.direct, -self.direct]),
            torch.cat([self.shift, -self.shift]),
            torch.cat([self.sizes, self.sizes]),
        )

    def reading(self, kept: Mapping[int, Tensor]) -> Forms:
        """The forms without units that are 0: by stage the positions kept."""
        return Forms(
            {stage: w[:, kept[stage]].contiguous() for stage, w in self.links.items()},
            self.direct,
            self.shift,
            self.sizes,
        )

    def to(self, dtype: torch.dtype) -> Forms:
        """The same forms in another dtype."""
        return Forms(
            {stage: weight.to(dtype) for stage, weight in self.links.items()},
            None if self.direct is None else self.direct.to(dtype),
            self.shift.to(dtype),
            self.sizes.to(dtype),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """The forms of n units, stored for products with many rows.

    Attributes:
        links: by an earlier stage j the matrix ``(n, n_j)``.
        direct: ``(n, D)``; ``None`` where the input is not read.
        shift: ``(n,)``.
        sizes: ``(n,)``, as those of :class:`Forms`.
    """

    links: Mapping[int, Weight]
    direct: Weight | None
    shift: Tensor
    sizes: Tensor

    @staticmethod
    def of(forms: Forms) -> Stage:
        """One unit for each form."""
        return Stage(
            {stage: compressed(weight) for stage, weight in forms.links.items()},
            None if forms.direct is None else compressed(forms.direct),
            forms.shift,
            forms.sizes,
        )

    def __len__(self) -> int:
        """The number of units."""
        return self.shift.shape[0]

    @property
    def forms(self) -> Forms:
        """All units' forms."""
        return Forms(
            {stage: whole_matrix(weight) for stage, weight in self.links.items()},
            None if self.direct is None else whole_matrix(self.direct),
            self.shift,
            self.sizes,
        )

    def rows(self, chosen: Tensor) -> Forms:
        """The forms of the units at positions ``chosen`` (or where a mask is true)."""
        return self.forms.rows(chosen)

    def pulled(self, rows: Tensor) -> tuple[dict[int, Tensor], Tensor | None]:
        """Coefficients of earlier stages and of the input, from the units' own.

        Args:
            rows: ``(R, n)``.

        Returns:
            By stage j ``(R, n_j)``, and ``(R, D)``.
        """
        links = {stage: times(rows, weight) for stage, weight in self.links.items()}
        return links, None if self.direct is None else times(rows, self.direct)

    def values(self, outputs: Sequence[Tensor], points: Tensor) -> Tensor:
        """The units' arguments ``(R, n)``.

        Args:
            outputs: by stage ``(R, n_j)``.
            points: ``(R, D)``.
        """
        value = self.shift
        if self.direct is not None:
            value = value + times_turned(points, self.direct)
        for stage, weight in self.links.items():
            value = value + times_turned(outputs[stage], weight)
        return value.expand(len(points), -1)

    def to(self, dtype: torch.dtype) -> Stage:
        """The same in another dtype."""
        return Stage(
            {stage: weight.to(dtype) for stage, weight in self.links.items()},
            None if self.direct is None else self.direct.to(dtype),
            self.shift.to(dtype),
            self.sizes.to(dtype),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Stages of rectified units, each an affine form of the stages before it.

    Unit i of stage k outputs ``max(z, 0)`` with z its form. Vectors over all units
    stand stage after stage; :meth:`parts` takes them apart.

    Attributes:
        stages: the units' forms.
        region: where the input lies.
        roundings: no coefficient and no sum of a bound takes more roundings.
    """

    stages: tuple[Stage, ...]
    region: Region
    roundings: int

    @property
    def units(self) -> int:
        """Number of units in all stages."""
        return sum(len(stage) for stage in self.stages)

    def parts(self, values: Tensor) -> list[Tensor]:
        """``(..., units)`` by stage."""
        sizes = [len(stage) for stage in self.stages]
        return list(torch.split(values, sizes, dim=-1))

    def slices(self) -> list[slice]:
        """Where each stage stands among all units."""
        ends = accumulate((len(stage) for stage in self.stages), initial=0)
        return [slice(start, stop) for start, stop in pairwise(ends)]

    def before(self, stage: int) -> Program:
        """The stages in front of ``stage``."""
        return Program(self.stages[:stage], self.region, self.roundings)

    def followed_by(self, forms: Forms) -> Program:
        """One stage more, a unit for each form."""
        stages = (*self.stages, Stage.of(forms))
        return Program(stages, self.region, self.roundings)

    def without(self, alive: Tensor) -> Program:
        """The program of the units where the mask ``(units,)`` is true.

        The function stays the same where all others are 0 on the whole region.
        """
        kept = dict(enumerate(self.parts(alive)))
        return Program(
            tuple(
                Stage.of(stage.forms.reading(kept).rows(kept[number]))
                for number, stage in enumerate(self.stages)
            ),
            self.region,
            self.roundings,
        )

    def to(self, dtype: torch.dtype) -> Program:
        """The same program in another dtype, for searching."""
        return Program(
            tuple(stage.to(dtype) for stage in self.stages),
            self.region.to(dtype),
            self.roundings,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """What is proved about each unit's argument on the region: ``(units,)`` float64."""

    low: Tensor
    high: Tensor

    @property
    def is_open(self) -> Tensor:
        """Units that may be on or off."""
        return (self.low < 0.0) & (self.high > 0.0)

    @property
    def looseness(self) -> float:
        """How far the lines above open units are from the units at most, in sum."""
        some = self.of(self.is_open)
        return float((-some.low * some.high / (some.high - some.low)).sum())

    @property
    def finite(self) -> bool:
        """Whether every bound is a number: no other bounds prove anything."""
        return bool(torch.isfinite(self.low).all() & torch.isfinite(self.high).all())

    def narrowed(self, low: Tensor, high: Tensor) -> Bounds:
        """With bounds that hold as well; NaN says nothing."""
        return Bounds(torch.fmax(self.low, low), torch.fmin(self.high, high))

    def of(self, chosen: Tensor | slice) -> Bounds:
        """Of some of the units."""
        return Bounds(self.low[chosen], self.high[chosen])


@dataclass(frozen=True, slots=True, eq=False)
class Leaves:
    """Multipliers that make a lower bound out of R forms: one leaf of a tree each.

    Attributes:
        slopes: ``(R, units)`` (or 1 row for all) of the lines below open units, in
            [0, 1].
        prices: ``(R, units)`` >= 0 of the splits.
        splits: ``(R, units)`` int8: 1 where the leaf holds inputs that leave the unit
            off (z <= 0), -1 where on (z >= 0), 0 where either.
    """

    slopes: Tensor
    prices: Tensor
    splits: Tensor

    def rows(self, chosen: Tensor) -> Leaves:
        """The leaves at positions ``chosen``."""
        return Leaves(self.slopes[chosen], self.prices[chosen], self.splits[chosen])

    def columns(self, chosen: Tensor | slice) -> Leaves:
        """The leaves without some units."""
        return Leaves(
            self.slopes[:, chosen], self.prices[:, chosen], self.splits[:, chosen]
        )


def whole(slopes: Tensor) -> Leaves:
    """The root of a tree: nothing is split; ``slopes`` ``(R, units)``."""
    nothing = torch.zeros_like(slopes[:1])
    return Leaves(slopes, nothing, nothing.to(torch.int8))


def steepest_slopes(bounds: Bounds) -> Tensor:
    """``(1, units)``: the line of slope 0 or 1 that leaves the smaller area."""
    return (bounds.high > -bounds.low).to(bounds.low)[None]
