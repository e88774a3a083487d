"""Ellipsoids through a program: every choice of multipliers gives an upper bound.

The frontier's difference u for inputs at distance 1 satisfies ``u^H P^-1 u <= 1``, P
being the *covariance*. An activation with slopes in [0, 1] and any diagonal ``T > N/4``
(N the covariance of its inputs, in the order of positive definite matrices) joins its
outputs by the inequality ``v^H T^-1 (z - v) >= 0``, and eliminating the old variables
leaves a covariance of the new ones. The largest eigenvalue at the outputs is a square
of a Lipschitz bound; its minimum over all T is LipSDP with one multiplier a unit.

References:
    Fazlyab et al. Efficient and Accurate Estimation of Lipschitz Constants for Deep
        Neural Networks. NeurIPS 2019.
    Xu, Sivaranjani. ECLipsE: Efficient Compositional Lipschitz Constant Estimation for
        Deep Neural Networks. NeurIPS 2024. (The chain without carried values.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from robustcert.lipschitz.lipsdp.program import Program, Stage
from robustcert.lipschitz.lipsdp.unfold import unfolded

Choice = Callable[[int, Tensor], Tensor]
"""Multipliers ``(M,)`` of stage i, given its activation's covariance ``(F, M, M)``."""


def output_covariance(program: Program, multipliers: Sequence[Tensor]) -> Tensor | None:
    """``(K, K)`` covariance of the outputs in the program's scale, differentiable.

    Args:
        program: any.
        multipliers: ``(M,)`` positive numbers for each stage: the T above.

    Returns:
        ``None`` where some T is not above a quarter of its covariance.
    """
    return chosen_covariance(program, lambda stage, _: multipliers[stage])


def chosen_covariance(program: Program, choose: Choice) -> Tensor | None:
    """The same, the multipliers being chosen on the way."""
    covariance = start_covariance(program)
    for number, stage in enumerate(program.stages):
        inputs = acted_covariance(stage, covariance)
        ahead = advanced(stage, covariance, choose(number, inputs))
        if ahead is None:
            return None
        covariance = ahead
    return covariance[0]


def start_covariance(program: Program) -> Tensor:
    """``(F, n, n)`` of the first frontier."""
    flat = program.start.transpose(1, 2).flatten(2)
    return flat @ flat.mH


def acted_covariance(stage: Stage, covariance: Tensor) -> Tensor:
    """``(F, M, M)`` of the activation's inputs."""
    if _is_whole(stage, covariance):
        return covariance
    return covariance[:, stage.acted][:, :, stage.acted]


def advanced(stage: Stage, covariance: Tensor, multipliers: Tensor) -> Tensor | None:
    """The covariance ``(F', n', n')`` of the next frontier; ``None`` where T fails."""
    inputs = acted_covariance(stage, covariance)
    gap = torch.diag_embed(multipliers).to(inputs.dtype) - 0.25 * inputs
    factor, info = torch.linalg.cholesky_ex(gap)
    if bool((info > 0).any()):
        return None
    blocks, aliases, rows, units = stage.spread.shape
    gain = stage.spread * multipliers
    if stage.carry is not None:
        crossing = _by_alias(stage, covariance[:, :, stage.acted])
        gain = gain + 0.5 * (stage.carry @ crossing)
    solved = torch.linalg.solve_triangular(
        _by_alias(stage, factor), gain.mH, upper=False
    )
    flat = solved.reshape(blocks, aliases * units, rows)
    result = flat.mH @ flat
    if stage.carry is not None:
        carried = stage.carry @ _by_alias(stage, covariance)
        result = result + (carried @ stage.carry.mH).sum(dim=1)
    return _placed(stage, result)


def _by_alias(stage: Stage, blocks: Tensor) -> Tensor:
    """``(F, n, m)`` as ``(F', A, n, m)``."""
    return blocks.reshape(*stage.spread.shape[:2], *blocks.shape[1:])


def _placed(stage: Stage, covariance: Tensor) -> Tensor:
    if stage.unfolding is not None:
        return unfolded(stage.unfolding, covariance)
    return covariance.real if stage.leaves_torus else covariance


def _is_whole(stage: Stage, covariance: Tensor) -> bool:
    """Whether the activation acts on the whole frontier in its order."""
    count = len(stage.acted)
    if count != covariance.shape[1]:
        return False
    return bool((stage.acted == torch.arange(count, device=stage.acted.device)).all())
