"""L-infinity bounds of small nets by a semidefinite relaxation of each logit.

For ``d > 0`` with ``sum d <= 1``, ``sum_i d_i x_i^2 <= max_i x_i^2``. So a bound
in L2 of ``u -> f_c(D^(-1/2) u)`` bounds how far logit c moves by inputs within 1 in
L-infinity, whatever d; the least over d and the multipliers of LipSDP is the dual of
GeoLIP's relaxation. Logits are bounded one by one, and the largest bound counts.

Reference:
    Wang, Prakriya, Jha. A Quantitative Geometric Approach to Neural-Network Smoothness.
    NeurIPS 2022.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

import torch
from torch import Tensor

from robustcert.errors import CertificateError, UnsupportedLayerError
from robustcert.graph.layers import LayerGraph
from robustcert.lipschitz.interface import Problem
from robustcert.lipschitz.lipsdp.change_bounds import change_bounds
from robustcert.lipschitz.lipsdp.compile import plain
from robustcert.lipschitz.lipsdp.dense import dense_program
from robustcert.lipschitz.lipsdp.map_errors import map_errors
from robustcert.lipschitz.lipsdp.multipliers import begin, scaled
from robustcert.lipschitz.lipsdp.program import Program
from robustcert.lipschitz.lipsdp.propagate import (
    acted_covariance,
    advanced,
    start_covariance,
)
from robustcert.lipschitz.lipsdp.search.iterate import Deadline
from robustcert.lipschitz.lipsdp.search.lbfgs import descended, differentiated
from robustcert.lipschitz.rounding import gamma
from robustcert.lipschitz.upper.prepared import prepared_graph
from robustcert.lipschitz.upper.proof import proved_certificate
from robustcert.lipschitz.upper.propagation import layer_bounds, sound_folded
from robustcert.lipschitz.weighted import with_input_weights, with_output_rows
from robustcert.results.bound import UpperBound
from robustcert.results.effort import Effort
from robustcert.results.norm import Norm

NAME = "geolip"
LARGEST = 1024
"""Inputs, or units of one layer, up to which a net counts as small."""
_SECONDS = {Effort.FAST: 2.0, Effort.TIGHT: 20.0, Effort.MAX: 120.0}
_STEPS = 500
_LEAST = 1e-3  # share of an input that hardly counts, against the mean share
_SLACK = 1e-12
_BARRIERS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


def geolip(problem: Problem, effort: Effort) -> UpperBound:
    """Upper bound in L-infinity of a small dense net, everywhere.

    Each logit's bound is proved by the checker, as an L2 bound of the net with its
    inputs scaled; it is never above that of LipLT unit by unit, nor above the product
    of norms.

    Raises:
        UnsupportedLayerError: there is no graph, a layer has no rule, the net is
            large, or the norm is L2.
        UnsoundModelError: a weight is NaN or infinite.
    """
    if problem.norm is not Norm.LINF:
        raise UnsupportedLayerError("model", "it bounds the constant in linf alone")
    graph = prepared_graph(problem)
    _require_small(graph)
    with torch.no_grad():
        known = _jacobian_bounds(graph)
        rows = known.sum(dim=1) * (1.0 + gamma(known.shape[1] + 4))
        end = Deadline.after(_SECONDS[effort])
        bound = 0.0
        for done, logit in enumerate(rows.argsort(descending=True).tolist()):
            if float(rows[logit]) <= bound:
                break  # the others are no larger
            time = Deadline.after(end.left / (len(rows) - done))
            found = _logit_bound(graph, logit, known[logit], time)
            bound = max(bound, min(found, float(rows[logit])))
    product = layer_bounds(graph, Norm.LINF)[-1]
    return UpperBound(min(bound, product), Norm.LINF, NAME)


def _require_small(graph: LayerGraph) -> None:
    for layer in graph.layers:
        if layer.size > LARGEST:
            raise UnsupportedLayerError(
                layer.name, f"{layer.size} units are more than {LARGEST}"
            )


def _jacobian_bounds(graph: LayerGraph) -> Tensor:
    """``(K, n)`` bounds on the Jacobian's entries, by LipLT unit by unit."""
    simple = plain(graph)
    program = dense_program(simple)
    identity = torch.eye(program.start.shape[3], dtype=torch.float64)
    errors = map_errors(simple, Norm.LINF)
    whole = change_bounds(program, errors, identity).whole
    return torch.ldexp(whole, torch.tensor(-program.exponents[-1]))


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """Multipliers and shares of the inputs for one logit.

    A point is the logarithms of all multipliers, then those of the shares d, up to a
    constant.
    """

    program: Program

    def objective(self, point: Tensor, barrier: float) -> Tensor | None:
        """``log`` of the squared bound, and a barrier where T is no longer feasible.

        The barrier is ``-logdet(I - T^-1/2 N T^-1/2 / 4)`` of each stage.
        """
        multipliers, shares = self.parts(point)
        covariance = start_covariance(self.weighted(shares))
        depth = point.new_zeros(())
        for stage, chosen in zip(self.program.stages, multipliers, strict=True):
            roots = chosen.rsqrt()
            share = 0.25 * acted_covariance(stage, covariance)[0]
            gap = torch.eye(len(chosen)).to(share) - roots[:, None] * share * roots
            factor, info = torch.linalg.cholesky_ex(gap)
            ahead = advanced(stage, covariance, chosen)
            if ahead is None or int(info) > 0:
                return None
            depth = depth - 2.0 * factor.diagonal().log().sum()
            covariance = ahead
        return covariance[0, 0, 0].log() + barrier * depth

    def parts(self, point: Tensor) -> tuple[list[Tensor], Tensor]:
        """Multipliers of each stage, and shares ``(n,)`` that add up to 1."""
        sizes = [*self.program.units, self.program.start.shape[3]]
        *logs, shares = torch.split_with_sizes(point, sizes)
        return [each.exp() for each in logs], shares.softmax(dim=0)

    def weighted(self, shares: Tensor) -> Program:
        """The program behind ``D^(-1/2)``."""
        return replace(self.program, start=self.program.start * shares.rsqrt())

    def begin(self, sensitivities: Tensor) -> Tensor:
        """Shares in proportion to the sensitivities: the best ones for a linear map."""
        least = _LEAST * sensitivities.mean().clamp(min=1e-300)
        shares = sensitivities.clamp(min=float(least))
        shares = shares / shares.sum()
        multipliers = begin(self.weighted(shares), scaled)
        return torch.cat([*(each.log() for each in multipliers), shares.log()])


def _logit_bound(
    graph: LayerGraph, logit: int, sensitivities: Tensor, deadline: Deadline
) -> float:
    row = torch.zeros(1, graph.outputs, dtype=torch.float64)
    row[0, logit] = 1.0
    single = sound_folded(with_output_rows(graph, row))
    search = _Search(dense_program(plain(single)))
    start = search.begin(sensitivities)
    if search.objective(start, 0.0) is None:
        return math.inf
    point = start
    for number, barrier in enumerate(_BARRIERS):
        share = Deadline.after(deadline.left / (len(_BARRIERS) - number))
        objective = partial(search.objective, barrier=barrier)
        found = descended(differentiated(objective), point, share, _STEPS)
        point = point if found is None else found.place
    multipliers, shares = search.parts(point)
    return _proved(single, search.program, multipliers, shares)


def _proved(
    graph: LayerGraph, program: Program, multipliers: Sequence[Tensor], shares: Tensor
) -> float:
    """What the checker proves for the graph behind ``D^(-1/2)``.

    Multipliers move to the scale of the weighted graph's own program.
    """
    weights = weights_within_one(shares).reshape(graph.input_shape)
    weighted = sound_folded(with_input_weights(graph, weights))
    own = dense_program(plain(weighted))
    moved = [
        torch.ldexp(each, torch.tensor(2 * (ours - theirs)))
        for each, ours, theirs in zip(
            multipliers, own.exponents, program.exponents, strict=False
        )
    ]
    try:
        return proved_certificate(weighted, own, moved).value
    except CertificateError:
        return math.inf


def weights_within_one(shares: Tensor) -> Tensor:
    """Roots of shares that add up to about 1, made to add up to at most 1 in truth.

    Args:
        shares: ``(n,)`` positive.

    Returns:
        ``(n,)`` weights whose squares, as rational numbers, add up to at most 1.
    """
    weights = (shares / shares.sum()).sqrt().clamp(min=1e-150)
    while sum(Fraction(weight) ** 2 for weight in weights.tolist()) > 1:
        weights = weights * (1.0 - _SLACK)
    return weights
