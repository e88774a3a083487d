"""Operators that only move numbers about, read off a batch of numbered coordinates.

Such an operator cannot tell a coordinate from its number. So it is run on the numbers
1, 2, 3, ... in place of the values, and where each number arrives is what it does; 0
is what was put beside them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.layers import Shape

ROWS = 5
"""Samples that are numbered; unlike the example's, so that a batch size that is wired
into an operator shows."""


def numbered(shape: Shape) -> Tensor:
    """``(ROWS, *shape)`` float64: the coordinates of all samples, from 1 on."""
    count = ROWS * torch.Size(shape).numel()
    return torch.arange(1, count + 1, dtype=torch.float64).reshape(ROWS, *shape)


def places_of(name: str, moved: Tensor, shape: Shape) -> Tensor:
    """Where each coordinate of a sample comes from, as in a ``Gather`` layer.

    Args:
        name: of the layer.
        moved: what an operator made of :func:`numbered` coordinates.
        shape: of the operator's input, without the batch.

    Raises:
        UnsupportedLayerError: samples are mixed, lost or treated unlike one another,
            or nothing is left of them.
    """
    if moved.ndim == 0 or len(moved) != ROWS:
        _refuse(name, "moves, drops or repeats samples of the batch")
    if moved.numel() == 0:
        _refuse(name, "leaves nothing of its input")
    size = torch.Size(shape).numel()
    first = torch.arange(ROWS).reshape(-1, *(1,) * (moved.ndim - 1)) * size
    places = torch.where(moved > 0, moved.long() - 1 - first, -1)
    if bool(((moved > 0) & ((places < 0) | (places >= size))).any()):
        _refuse(name, "moves numbers from one sample to another")
    if bool((places != places[:1]).any() | (moved != moved.round()).any()):
        _refuse(name, "does something else to each sample")
    return places[0].clone()


def _refuse(name: str, reason: str) -> None:
    raise UnsupportedLayerError(
        name,
        reason,
        remedy="Export the model so that the first dimension is the batch.",
    )
