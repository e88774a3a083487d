"""LipSDP by gradients: the optimiser that runs on every program, any time.

The logarithms of the multipliers are free variables; the objective is a smooth maximum
of the logarithms of the output covariance's eigenvalues, sharpened in three rounds. A
point where some multiplier is not above a quarter of its covariance has no value, and
the line search turns back. Every point with a value is a certificate.

Reference:
    Fazlyab et al. Efficient and Accurate Estimation of Lipschitz Constants for Deep
        Neural Networks. NeurIPS 2019. (The optimum: one multiplier a unit.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustcert.lipschitz.lipsdp.program import Program
from robustcert.lipschitz.lipsdp.propagate import output_covariance
from robustcert.lipschitz.lipsdp.search.iterate import Deadline, Heard, Iterate
from robustcert.lipschitz.lipsdp.search.lbfgs import Point, descended
from robustcert.lipschitz.lipsdp.search.reach import live_units
from robustcert.lipschitz.lipsdp.search.record import Record

SHARPNESSES = (10.0, 40.0, 200.0)
"""Of the smooth maximum; it is within ``log(k) / sharpness`` of the true one."""
_FLOOR = 1e-30  # of the largest eigenvalue: below, an eigenvalue is noise
_STEPS = 2000


def first_order(
    program: Program, start: Iterate, deadline: Deadline, heard: Heard
) -> Iterate:
    """L-BFGS from this point.

    Args:
        program: any with at least one stage.
        start: feasible up to rounding.
        deadline: asked before each evaluation.
        heard: hears each better point.

    Returns:
        The best point, at worst the start; nothing is proved about its distance to the
        optimum.
    """
    descent = _Descent(program, start, heard)
    for sharpness in SHARPNESSES:
        descent.sharpness = sharpness
        best = torch.cat([part.log() for part in descent.record.best.multipliers])
        descended(descent, best, deadline, _STEPS)
    return descent.record.best


class _Descent:
    """The objective; it records every point that it is asked about."""

    def __init__(self, program: Program, start: Iterate, heard: Heard) -> None:
        self.program, self.record = program, Record(program, heard, start)
        self.live = live_units(program).to(start.multipliers[0].dtype)
        self.sharpness = SHARPNESSES[0]
        self.steps = 0

    def __call__(self, logarithms: Tensor) -> Point | None:
        """The objective and its gradient; ``None`` where T is not feasible."""
        self.steps += 1
        with torch.enable_grad():
            variables = logarithms.detach().requires_grad_()
            multipliers = variables.exp()
            parts = torch.split(multipliers, list(self.program.units))
            covariance = output_covariance(self.program, parts)
            if covariance is None or not bool(torch.isfinite(covariance).all()):
                return None
            values = torch.linalg.eigvalsh(covariance)
            height = _smooth_maximum(values, self.sharpness)
            (gradient,) = torch.autograd.grad(height, variables)
        if not bool(torch.isfinite(gradient).all()):
            return None
        self.record.hear(multipliers.detach(), float(values[-1].detach()), self.steps)
        return Point(logarithms, float(height.detach()), gradient * self.live)


def _smooth_maximum(values: Tensor, sharpness: float) -> Tensor:
    """``log(sum values^s) / s / 2``: above the logarithm of the largest one's root."""
    floor = _FLOOR * float(values[-1].detach()) + 1e-300
    logarithms = values.clamp(min=floor).log()
    return 0.5 * torch.logsumexp(sharpness * logarithms, dim=0) / sharpness
