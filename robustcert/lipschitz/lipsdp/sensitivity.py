"""What the outputs hear of each unit, if every activation passes on one half."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from robustcert.lipschitz.lipsdp.program import Program, Stage


def sensitivities(program: Program) -> list[Tensor]:
    """``(M,)`` for each stage: the squared gain from a unit's output to all outputs.

    Activations with slopes in [0, 1] are replaced by their middle, 1/2, and the maps
    between them are followed backwards; on a torus the mean over frequencies counts.
    An estimate for choosing multipliers; nothing is claimed from it.

    Args:
        program: without unfolding.
    """
    outputs = program.stages[-1].spread.shape[2] if program.stages else 0
    gram = torch.eye(outputs, dtype=torch.float64, device=program.start.device)[None]
    found: list[Tensor] = []
    for number in reversed(range(len(program.stages))):
        stage = program.stages[number]
        heard = stage.spread.mH @ (gram[:, None].to(stage.spread) @ stage.spread)
        found.append(heard.diagonal(dim1=2, dim2=3).real.mean(dim=(0, 1)))
        gram = _in_front(stage, gram, heard, _width(program, number))
    return found[::-1]


def _in_front(stage: Stage, gram: Tensor, heard: Tensor, width: int) -> Tensor:
    """The Gram matrices ``(F, n, n)`` of the frontier in front of the stage."""
    if stage.carry is None:
        whole = heard.new_zeros(*heard.shape[:2], width, width)
        whole[:, :, stage.acted[:, None], stage.acted] = 0.25 * heard
    else:
        through = stage.carry.clone()
        through[..., stage.acted] += 0.5 * stage.spread
        whole = through.mH @ (gram[:, None].to(through) @ through)
    return whole.flatten(0, 1)


def _width(program: Program, number: int) -> int:
    """Units alive in front of stage ``number``."""
    behind: Sequence[Tensor] = [s.spread for s in program.stages[:number]]
    return int([program.start, *behind][-1].shape[2])
