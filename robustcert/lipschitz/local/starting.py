"""Multipliers to begin with where slopes are narrow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.errors import UnsupportedLayerError
from robustcert.lipschitz.lipsdp.multipliers import flat, scaled
from robustcert.lipschitz.lipsdp.program import Program, Stage
from robustcert.lipschitz.lipsdp.propagate import (
    Choice,
    acted_covariance,
    advanced,
    start_covariance,
)


def narrow_start(program: Program) -> list[Tensor]:
    r"""Multipliers for a dense program in which much is carried and little spread.

    With v the activation's outputs, ``C u + S v`` has a covariance near

    .. math:: C P C^T + (S T + C P_a / 2) T^{-1} (S T + C P_a / 2)^T,

    P_a being the columns that the activation acts on. In the share of unit i the first
    summand grows with ``T_i`` and the second falls; they are equal where ``T_i`` is
    half the quotient of the columns' norms. Larger multipliers than the usual ones stay
    feasible, and for slopes that hardly differ they must be large. The usual ones are
    chosen in two ways, of which the better is taken.

    Raises:
        UnsupportedLayerError: numbers overflow.
    """
    ways = [_begun(program, choose) for choose in (scaled, flat)]
    return min(ways, key=lambda way: way.square).multipliers


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """Multipliers, and the largest eigenvalue that they lead to."""

    multipliers: list[Tensor]
    square: float


def _begun(program: Program, choose: Choice) -> _Way:
    covariance = start_covariance(program)
    found: list[Tensor] = []
    for number, stage in enumerate(program.stages):
        usual = choose(number, acted_covariance(stage, covariance))
        found.append(_raised(stage, covariance, usual))
        ahead = advanced(stage, covariance, found[-1])
        if ahead is None or not bool(torch.isfinite(ahead).all()):
            raise UnsupportedLayerError(
                stage.layer, "its covariance leaves the range of float64"
            )
        covariance = ahead
    return _Way(found, float(torch.linalg.eigvalsh(covariance[0])[-1]))


def _raised(stage: Stage, covariance: Tensor, multipliers: Tensor) -> Tensor:
    if stage.carry is None or len(multipliers) == 0:
        return multipliers
    crossing = stage.carry[0, 0] @ covariance[0][:, stage.acted]
    carried = torch.linalg.vector_norm(crossing, dim=0)
    spread = torch.linalg.vector_norm(stage.spread[0, 0], dim=0)
    balanced = 0.5 * carried / spread.clamp(min=1e-300)
    most = 1e9 * multipliers.max().clamp(min=1e-300)
    return torch.maximum(multipliers, balanced.clamp(max=float(most)))
