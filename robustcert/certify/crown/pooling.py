"""Max pooling between two linear bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.graph.layers import MaxPool, Shape
from robustcert.lipschitz.local.intervals import Interval


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """``z[chosen] <= max``, and ``max <= z[chosen]`` where settled, else ``<= high``.

    Attributes:
        chosen: ``(N, C, L)`` int64 positions in the flattened plane of the input.
        settled: ``(N, C, L)`` bool: no other input of the window can be larger.
        high: ``(N, C, L)`` upper bounds of the maximum.
    """

    chosen: Tensor
    settled: Tensor
    high: Tensor

    def to(self, dtype: torch.dtype) -> Choice:
        """The same rounded to nearest: for searches."""
        return Choice(self.chosen, self.settled, self.high.to(dtype))


def choice(layer: MaxPool, source: Interval) -> Choice:
    """The input with the largest lower bound of each window of ``(N, C, *plane)``.

    Reference:
        Boopathy et al. CNN-Cert. AAAI 2019, section 3.5, with the simplest sound lines.
    """
    lows, highs, members = _windows(layer, source)
    best, place = lows.max(dim=3)
    others = highs.scatter(3, place[..., None], -math.inf).amax(dim=3)
    chosen = members.expand_as(lows).gather(3, place[..., None])[..., 0]
    return Choice(chosen, others <= best, highs.amax(dim=3))


def contenders(layer: MaxPool, source: Interval) -> Tensor:
    """Inputs that may decide a maximum that is not settled: bool ``(N, C, *plane)``."""
    lows, highs, members = _windows(layer, source)
    found = choice(layer, source)
    inside = (highs > lows.amax(dim=3, keepdim=True)) & ~found.settled[..., None]
    count, channels = source.low.shape[:2]
    marks = source.low.new_zeros(count, channels, source.low[0, 0].numel())
    places = members.clamp(min=0).expand_as(lows).flatten(2)
    marks.scatter_reduce_(2, places, inside.flatten(2).to(marks), "amax")
    return (marks > 0.0).reshape(source.low.shape)


def through_choice(
    rows: Tensor, found: Choice, samples: Tensor, source: Shape
) -> tuple[Tensor, Tensor]:
    """Coefficients of the input ``(R, *source)`` and shifts ``(R,)``; both below.

    Args:
        rows: ``(R, C, *out)``.
        found: of N samples.
        samples: ``(R,)`` which of them a row is about.
        source: shape of the layer's input.
    """
    flat = rows.flatten(2)
    exact = (flat > 0.0) | found.settled[samples]
    zero = torch.zeros_like(flat)
    plane = torch.Size(source[1:]).numel()
    moved = flat.new_zeros(len(flat), source[0], plane)
    moved = moved.scatter_add(2, found.chosen[samples], torch.where(exact, flat, zero))
    constant = torch.where(exact, zero, flat) * found.high[samples]
    return moved.reshape(-1, *source), constant.flatten(1).sum(dim=1)


def _windows(layer: MaxPool, source: Interval) -> tuple[Tensor, Tensor, Tensor]:
    """Lower and upper bounds ``(N, C, L, k)`` by window, and its members ``(L, k)``."""
    members = _members(layer, tuple(source.low.shape[2:])).to(source.low.device)
    outside = members < 0
    lows, highs = (
        end.flatten(2)[:, :, members.clamp(min=0)].masked_fill(outside, -math.inf)
        for end in (source.low, source.high)
    )
    return lows, highs, members


def _members(layer: MaxPool, plane: Shape) -> Tensor:
    """``(L, k)`` places in the flattened plane that a window reads; -1 is padding."""
    places = torch.zeros(1, 1, dtype=torch.int64)
    inside = torch.ones(1, 1, dtype=torch.bool)
    for axis, size in enumerate(plane):
        outputs = torch.arange(layer.shape[1 + axis])[:, None] * layer.stride[axis]
        offsets = torch.arange(layer.kernel[axis])[None] * layer.dilation[axis]
        at = outputs + offsets - layer.padding[axis]
        good = (at >= 0) & (at < size)
        shape = len(places) * len(at), places.shape[1] * at.shape[1]
        places = places[:, None, :, None] * size + at[None, :, None, :]
        places = places.reshape(shape)
        inside = (inside[:, None, :, None] & good[None, :, None, :]).reshape(shape)
    return places.masked_fill(~inside, -1)
