"""Multipliers to begin with: always feasible, the balanced ones close to the best."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from robustcert.lipschitz.lipsdp.program import Program
from robustcert.lipschitz.lipsdp.propagate import Choice, chosen_covariance
from robustcert.lipschitz.lipsdp.sensitivity import sensitivities

_DEAD = 1e-12  # of the largest variance: a unit that hears nothing
_STILL = 1e-5  # of the largest variance: a unit that next to never moves
_LEAST = 1e-7  # of the largest multiplier: what rounding cannot take for 0
_SAFETY = 1.0 + 1e-9


def flat(_: int, inputs: Tensor) -> Tensor:
    """The same for all units of a layer: ``2 lambda_max(N / 4)``, as ECLipsE-Fast.

    Units that hear next to nothing, as those behind padding, get next to nothing: what
    is heard of them would count as if they moved. With N in two blocks, ``N`` is at
    most twice its diagonal blocks, so that both multipliers are feasible.

    Reference:
        Xu, Sivaranjani. ECLipsE. NeurIPS 2024, section 4.2.
    """
    if inputs.shape[-1] == 0:
        return _none(inputs)
    largest: Tensor = torch.linalg.eigvalsh(inputs)[:, -1].max().clamp(min=1e-300)
    hears = inputs.diagonal(dim1=1, dim2=2).real.amax(dim=0)
    tops = largest.expand(len(hears)).clone()
    still = hears < _STILL * hears.max()  # none where nothing moves
    if bool(still.any()):
        block = inputs[:, still][:, :, still]
        top = torch.linalg.eigvalsh(block)[:, -1].max().clamp(min=0.0)
        tops[still] = torch.minimum(2.0 * top + _LEAST * largest, largest)
    return 0.5 * _SAFETY * tops


def scaled(_: int, inputs: Tensor) -> Tensor:
    """Proportional to the units' standard deviations D, averaged over frequencies.

    ``T = 2 lambda_max(D^-1/2 N D^-1/2 / 4) D``: other starts end far above.
    """
    if inputs.shape[-1] == 0:
        return _none(inputs)
    variances = inputs.diagonal(dim1=1, dim2=2).real.mean(dim=0)
    largest = variances.max().clamp(min=1e-300)
    deviations = variances.clamp(min=_DEAD * float(largest)).sqrt()
    roots = deviations.rsqrt()
    balanced = inputs * roots[:, None] * roots
    top: Tensor = torch.linalg.eigvalsh(balanced)[:, -1].max().clamp(min=1e-300)
    return 0.5 * _SAFETY * top * deviations


def _none(inputs: Tensor) -> Tensor:
    return torch.zeros(0, dtype=torch.float64, device=inputs.device)


def balanced(program: Program, factor: float) -> Choice:
    """Proportional to what a unit hears against what is heard of it.

    ``T = factor lambda_max(D^-1/2 N D^-1/2 / 4) D`` with ``D = sqrt(N_jj / S_j)``, S
    being the :func:`~robustcert.lipschitz.lipsdp.sensitivity.sensitivities`. Scaling a
    unit by c and its readers by 1/c scales T by ``c^2`` and changes no bound.

    Args:
        program: without unfolding.
        factor: above 1; the best one lies between about 1.2 and 2.
    """
    heard_of = sensitivities(program)

    def choose(number: int, inputs: Tensor) -> Tensor:
        if inputs.shape[-1] == 0:
            return _none(inputs)
        hears = _floored(inputs.diagonal(dim1=1, dim2=2).real.mean(dim=0))
        shares = (hears / _floored(heard_of[number])).sqrt()
        roots = shares.rsqrt()
        even = inputs * roots[:, None] * roots
        top: Tensor = torch.linalg.eigvalsh(even)[:, -1].max().clamp(min=1e-300)
        return 0.25 * factor * top * shares

    return choose


def given(multipliers: Sequence[Tensor]) -> Choice:
    """Those of each stage, whatever its covariance."""
    return lambda number, _: multipliers[number]


def _floored(values: Tensor) -> Tensor:
    """Units that hear nothing, or are not heard, count as if they nearly did not."""
    return values.clamp(min=_DEAD * float(values.max())).clamp(min=1e-300)


def begin(program: Program, choose: Choice) -> list[Tensor]:
    """The multipliers ``(M,)`` of each stage that ``choose`` picks on the way."""
    picked: list[Tensor] = []

    def remembered(number: int, inputs: Tensor) -> Tensor:
        picked.append(choose(number, inputs))
        return picked[-1]

    chosen_covariance(program, remembered)
    return picked
