"""Where searches start: data with noise, and random points of the box."""

from __future__ import annotations

import torch
from torch import Tensor

from robustcert.lipschitz.interface import Problem
from robustcert.tensors import clip_to_box

_NOISE = 0.05  # of the box's width


def points_in_box(problem: Problem, count: int, generator: torch.Generator) -> Tensor:
    """``(count, *shape)`` points, uniform in the box."""
    shape = (count, *problem.inputs.shape[1:])
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
    return (problem.box.low + problem.box.width * uniform).to(problem.inputs)


def starts(problem: Problem, count: int, generator: torch.Generator) -> Tensor:
    """``(count, *shape)``: half inputs with noise, half uniform in the box.

    All are uniform where there are no inputs.
    """
    anywhere = points_in_box(problem, count, generator)
    if len(problem.inputs) == 0:
        return anywhere
    half = (count + 1) // 2
    chosen = torch.randint(len(problem.inputs), (half,), generator=generator)
    noise = torch.randn(
        (half, *problem.inputs.shape[1:]), generator=generator, dtype=torch.float64
    )
    data = problem.inputs[chosen.to(problem.inputs.device)]
    near = data + (_NOISE * problem.box.width * noise).to(problem.inputs)
    return torch.cat([clip_to_box(near, problem.box), anywhere[half:]])


def directions(problem: Problem, count: int, generator: torch.Generator) -> Tensor:
    """``(count, *shape)`` random directions, of no particular length."""
    shape = (count, *problem.inputs.shape[1:])
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(
        problem.inputs
    )
