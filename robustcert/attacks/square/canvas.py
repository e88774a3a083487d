"""Where Square's changes go: windows of pictures and signals, columns of tables.

A window is a set of coordinates of the flattened input, in groups that change alike:
the channels of a picture. Each row of a batch has a window of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Dice:
    """Random numbers for ``rows`` rows at a time.

    Attributes:
        generator: on the device of the inputs.
        rows: N.
        dtype: of signs.
    """

    generator: torch.Generator
    rows: int
    dtype: torch.dtype

    def signs(self, *shape: int) -> Tensor:
        """``(N, *shape)`` of -1 and 1, each as likely."""
        bits = self.below(2, *shape)
        return (2 * bits - 1).to(self.dtype)

    def below(self, limit: int, *shape: int) -> Tensor:
        """``(N, *shape)`` int64 in [0, limit)."""
        return torch.randint(
            limit,
            (self.rows, *shape),
            generator=self.generator,
            device=self.generator.device,
        )

    def normal(self, *shape: int) -> Tensor:
        """``(N, *shape)`` of a normal distribution."""
        return torch.randn(
            (self.rows, *shape),
            generator=self.generator,
            device=self.generator.device,
            dtype=self.dtype,
        )

    def uniform(self, *shape: int) -> Tensor:
        """``(N, *shape)`` float32 in [0, 1)."""
        return torch.rand(
            (self.rows, *shape),
            generator=self.generator,
            device=self.generator.device,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Transfer:
    """Two windows in each of N inputs: one gives its budget to the other.

    Attributes:
        cells: ``(N, G, k)`` int64 coordinates of the one that receives, distinct in
            each row.
        givers: ``(N, G, k)`` of the one that gives; they may overlap.
        bump: ``(N, 1, k)`` the change that is added to each group of the receiver, up
            to a sign, where the change that is there has length 1.
    """

    cells: Tensor
    givers: Tensor
    bump: Tensor


class Canvas(Protocol):
    """The layout of one input of D coordinates."""

    def stripes(self, dice: Dice) -> Tensor:
        """``(N, D)`` signs: the first L-infinity perturbation."""
        ...

    def bumps(self, dice: Dice) -> Tensor:
        """``(N, D)``: the first L2 perturbation, up to its length."""
        ...

    def cells(self, share: float, dice: Dice) -> Tensor:
        """``(N, G, k)`` coordinates that change alike in each group."""
        ...

    def transfer(self, share: float, dice: Dice) -> Transfer:
        """Two windows, for L2."""
        ...


@dataclass(frozen=True, slots=True)
class Picture:
    """Channels of ``height`` by ``width``; a signal has height 1."""

    channels: int
    height: int
    width: int

    TILES = 5
    """The first L2 perturbation has this many bumps each way, where they fit."""

    def stripes(self, dice: Dice) -> Tensor:
        """A sign for each column of each channel."""
        signs = dice.signs(self.channels, 1, self.width)
        return signs.expand(-1, -1, self.height, -1).flatten(1)

    def bumps(self, dice: Dice) -> Tensor:
        """Tiles of bumps, each with a sign for each channel."""
        high = odd_side(self.height // self.TILES, self.height)
        wide = odd_side(self.width // self.TILES, self.width)
        down, across = self.height // high, self.width // wide
        bump = two_bumps(high, wide).reshape(high, wide)
        tiles = bump.to(dice.generator.device, dice.dtype).repeat(down, across)
        signs = dice.signs(self.channels, down, across)
        spread = signs.repeat_interleave(high, 2).repeat_interleave(wide, 3)
        spare = (0, self.width - across * wide, 0, self.height - down * high)
        return torch.nn.functional.pad(spread * tiles, spare).flatten(1)

    def cells(self, share: float, dice: Dice) -> Tensor:
        """A window as square as the picture allows, at a random place."""
        return self._placed(*self.sides(share), dice)

    def transfer(self, share: float, dice: Dice) -> Transfer:
        """Windows with odd sides; the change is a hill beside a hollow."""
        high, wide = self.sides(share)
        high, wide = odd_side(high, self.height), odd_side(wide, self.width)
        bump = two_bumps(high, wide).to(dice.generator.device, dice.dtype)
        turned = bump.reshape(high, wide).T.flatten() if high == wide else bump
        either = torch.stack([bump, turned])[dice.below(2)]
        return Transfer(
            self._placed(high, wide, dice),
            self._placed(high, wide, dice),
            either[:, None],
        )

    def sides(self, share: float) -> tuple[int, int]:
        """Height and width of a window with this share of the area."""
        area = share * self.height * self.width
        high = min(max(round(math.sqrt(area)), 1), self.height)
        wide = min(max(round(area / high), 1), self.width)
        if wide == self.width:
            high = min(max(round(area / wide), 1), self.height)
        return high, wide

    def _placed(self, high: int, wide: int, dice: Dice) -> Tensor:
        device = dice.generator.device
        top = dice.below(self.height - high + 1, 1, 1)
        left = dice.below(self.width - wide + 1, 1, 1)
        down = torch.arange(high, device=device)[:, None] * self.width
        inside = (down + torch.arange(wide, device=device)).flatten()
        channel = torch.arange(self.channels, device=device) * self.height * self.width
        return top * self.width + left + channel[:, None] + inside


@dataclass(frozen=True, slots=True)
class Table:
    """Columns without neighbours: any of them change, each in its own way."""

    columns: int

    def stripes(self, dice: Dice) -> Tensor:
        """A sign for each column."""
        return dice.signs(self.columns)

    def bumps(self, dice: Dice) -> Tensor:
        """A sign for each column."""
        return dice.signs(self.columns)

    def cells(self, share: float, dice: Dice) -> Tensor:
        """Random columns, each a group of its own."""
        count = min(max(round(share * self.columns), 1), self.columns)
        chosen = dice.uniform(self.columns).topk(count, dim=1).indices
        return chosen[:, :, None]

    def transfer(self, share: float, dice: Dice) -> Transfer:
        """Two columns at least; the change has a random direction and length.

        Half of the receivers give to themselves: a table may have too few columns to
        empty some in each query.
        """
        share = max(share, min(2, self.columns) / self.columns)
        cells, others = self.cells(share, dice), self.cells(share, dice)
        givers = cells.where(dice.below(2, 1, 1) == 0, others)
        bump = dice.normal(1, cells.shape[1])
        length = torch.linalg.vector_norm(bump, dim=2, keepdim=True)
        size = 2.0 * dice.uniform(1, 1).to(dice.dtype)
        return Transfer(
            cells.transpose(1, 2), givers.transpose(1, 2), size * bump / length
        )


def canvas_of(shape: tuple[int, ...]) -> Canvas:
    """The layout of inputs of this shape.

    The last two axes are a picture's, what comes before them counts as channels; two
    axes are a signal's channels and times; one axis, or none, is a table.
    """
    if len(shape) >= 3:
        return Picture(math.prod(shape[:-2]), *shape[-2:])
    if len(shape) == 2:
        return Picture(shape[0], 1, shape[1])
    return Table(math.prod(shape))


def odd_side(side: int, limit: int) -> int:
    """The next odd number from ``side``, and from 3 where nine fit, up to ``limit``."""
    least = 3 if limit >= 9 else 1
    return min(max(side, least) | 1, limit - 1 + limit % 2)


def two_bumps(high: int, wide: int) -> Tensor:
    """``(high * wide,)`` float64 of length 1: a hill beside a hollow.

    Split across the longer side.
    """
    if high > wide:
        return two_bumps(wide, high).reshape(wide, high).T.flatten()
    half = wide // 2
    both = torch.cat([hill(high, half), -hill(high, wide - half)], dim=1).flatten()
    length: Tensor = torch.linalg.vector_norm(both)
    return both / length


def hill(high: int, wide: int) -> Tensor:
    """``(high, wide)`` float64 that falls in square rings about the middle.

    Ring d, from 0 in the middle to n at the far ends, has height
    ``sum_{k=d}^{n} 1 / (k + 1)^2``.
    """
    away = torch.maximum(_from_middle(high)[:, None], _from_middle(wide)[None])
    inverse = torch.arange(1, max(high, wide) // 2 + 2, dtype=torch.float64)
    heights = inverse.square().reciprocal().flip(0).cumsum(0).flip(0)
    return heights[away]


def _from_middle(side: int) -> Tensor:
    return (torch.arange(side) - side // 2).abs()
