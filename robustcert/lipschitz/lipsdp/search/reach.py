"""Which activations hear the input at all, and how large a multiplier can be."""

from __future__ import annotations

import torch
from torch import Tensor

from robustcert.lipschitz.lipsdp.program import Program, Stage
from robustcert.lipschitz.lipsdp.propagate import start_covariance


def live_units(program: Program) -> Tensor:
    """``(units,)`` of all stages: those that a path of weights joins to the input."""
    heard = (program.start != 0).any(dim=3).flatten(0, 1).any(dim=0)
    found = []
    for stage in program.stages:
        own = heard[stage.acted]
        found.append(own)
        heard = _ahead(stage, heard)
    return torch.cat(found)


def is_constant(program: Program) -> bool:
    """Whether no path of weights joins the outputs to the input."""
    heard = (program.start != 0).any(dim=3).flatten(0, 1).any(dim=0)
    for stage in program.stages:
        heard = _ahead(stage, heard)
    return not bool(heard.any())


def _ahead(stage: Stage, heard: Tensor) -> Tensor:
    ahead = _reached(stage.spread, heard[stage.acted])
    if stage.carry is not None:
        ahead = ahead | _reached(stage.carry, heard)
    if stage.unfolding is not None:
        positions = int(torch.tensor(stage.unfolding.valid).prod())
        ahead = ahead.repeat_interleave(positions)
    return ahead


def _reached(maps: Tensor, heard: Tensor) -> Tensor:
    """Rows of any block with a weight on a unit that hears."""
    return ((maps != 0) & heard).any(dim=3).flatten(0, 1).any(dim=0)


def multiplier_ceiling(program: Program) -> Tensor:
    """``(units,)``: no feasible ``lambda = 1 / (2 T)`` lies above.

    An ellipsoid behind an activation holds whatever slopes in [0, 1] can do, so also
    what one slope at all units does. The variance N of a unit's input is therefore at
    least that in a linear network, n, and a feasible T is above ``N / 4 >= n / 4``.
    """
    least = torch.maximum(_variances(program, 1.0), _variances(program, 0.5))
    return 2.0 / least


def _variances(program: Program, slope: float) -> Tensor:
    """The largest over frequencies of each unit's variance in a linear network."""
    covariance = start_covariance(program)
    found = []
    for stage in program.stages:
        variances = covariance.diagonal(dim1=1, dim2=2).real.amax(dim=0)
        found.append(variances[stage.acted])
        covariance = _through(stage, covariance, slope)
    return torch.cat(found)


def _through(stage: Stage, covariance: Tensor, slope: float) -> Tensor:
    blocks, aliases, rows, _ = stage.spread.shape
    whole = stage.spread.new_zeros(blocks, aliases, rows, covariance.shape[-1])
    whole[..., stage.acted] = slope * stage.spread
    if stage.carry is not None:
        whole = whole + stage.carry
    parts = covariance.reshape(blocks, aliases, *covariance.shape[1:])
    ahead: Tensor = (whole @ parts @ whole.mH).sum(dim=1)
    return ahead.real if stage.leaves_torus else ahead
