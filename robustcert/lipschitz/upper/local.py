"""LipSDP on a region: units whose slope is known there cost nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.graph.layers import LayerGraph
from robustcert.lipschitz.lipsdp.dense import dense_program
from robustcert.lipschitz.lipsdp.pools import without_max_pools
from robustcert.lipschitz.lipsdp.program import Program
from robustcert.lipschitz.lipsdp.search.iterate import Heard, Iterate
from robustcert.lipschitz.lipsdp.search.minimise import minimised
from robustcert.lipschitz.lipsdp.search.reach import is_constant
from robustcert.lipschitz.local.ellipsoids import narrowed
from robustcert.lipschitz.local.enclosure import Enclosure, enclosure, slopes_within
from robustcert.lipschitz.local.entry_errors import EntryErrors, entry_errors
from robustcert.lipschitz.local.idle import without_idle_stages
from robustcert.lipschitz.local.region import Region
from robustcert.lipschitz.local.starting import narrow_start
from robustcert.lipschitz.local.verified import verified_bound, verified_covariances
from robustcert.lipschitz.upper.propagation import layer_bounds, sound_folded
from robustcert.results.bound import UpperBound
from robustcert.results.norm import Norm

LOCAL = "lipsdp_local"
_RETREATS = (0.0, 1e-8, 1e-6, 1e-4, 1e-2, 1.0)


def unheard(_: Iterate) -> None:
    """For callers who wait for the end."""


@dataclass(frozen=True, slots=True, eq=False)
class _Compiled:
    """A graph as a program with the slopes of a region, and multipliers for it."""

    program: Program
    errors: EntryErrors
    multipliers: Sequence[Tensor]


def local_bound(
    graph: LayerGraph, region: Region, seconds: float, heard: Heard = unheard
) -> UpperBound:
    """Upper bound in L2 of the graph restricted to the region.

    Every activation's input is enclosed over the region, by backward substitution and
    by the ellipsoids that LipSDP carries along; its slopes there replace the global
    ones. The bound is proved in float64 from whatever multipliers the search ends with.

    Args:
        graph: any.
        region: convex, so that the chord of an activation between two of its points
            is as steep as the activation is somewhere in the enclosure.
        seconds: for the search of multipliers; 0 takes those it would begin with.
        heard: hears every better iterate, before it is proved.

    Raises:
        UnsupportedLayerError: a layer has no rule, or the graph is too large for dense
            matrices.
        UnsoundModelError: a weight is NaN or infinite.

    References:
        Fazlyab et al. Efficient and Accurate Estimation of Lipschitz Constants for Deep
            Neural Networks. NeurIPS 2019, section 3.4 (local slopes).
        Zhang et al. Efficient Neural Network Robustness Certification with General
            Activation Functions. NeurIPS 2018 (CROWN).
    """
    folded = sound_folded(graph)
    simple = without_max_pools(folded)
    if is_constant(dense_program(simple)):
        value = layer_bounds(folded, Norm.L2)[-1]
        return UpperBound(value, Norm.L2, LOCAL, region.scope)
    with torch.no_grad():
        compiled = _compiled_for(graph, simple, region)
        value = _proved(compiled, _searched(compiled, seconds, heard))
    return UpperBound(value, Norm.L2, LOCAL, region.scope)


def _compiled_for(graph: LayerGraph, simple: LayerGraph, region: Region) -> _Compiled:
    """The program with the narrowest slopes that can be proved.

    Bounds are of the graph as shipped; folding rounds, which ``entry_errors`` grants.
    """
    shipped = graph.to(torch.float64)
    enclosed = enclosure(shipped, region, {})
    first = _compiled(simple, shipped, enclosed)
    covariances = verified_covariances(first.program, first.multipliers, first.errors)
    if covariances is None:
        return first
    known = narrowed(shipped, region, enclosed, first.program, covariances)
    return _compiled(simple, shipped, enclosure(shipped, region, known))


def _compiled(
    simple: LayerGraph, shipped: LayerGraph, enclosed: Enclosure
) -> _Compiled:
    slopes = slopes_within(shipped, enclosed)
    program = dense_program(simple, slopes)
    errors = entry_errors(simple, slopes, program)
    return _Compiled(program, errors, narrow_start(program))


def _searched(compiled: _Compiled, seconds: float, heard: Heard) -> Sequence[Tensor]:
    program = without_idle_stages(compiled.program)
    if seconds <= 0.0 or not program.stages or is_constant(program):
        return compiled.multipliers
    start = [chosen for chosen in compiled.multipliers if len(chosen)]
    found = iter(minimised(program, seconds, heard, start).multipliers)
    return [next(found) if len(old) else old for old in compiled.multipliers]


def _proved(compiled: _Compiled, found: Sequence[Tensor]) -> float:
    """What can be proved from the multipliers, or from some close to them.

    The best ones may lie where rounding is all that keeps them feasible. In ``1 / T``
    the feasible set and the bound are convex: a step back to the beginning leads
    inside, and costs no more than its share.
    """
    value = math.inf
    for share in _RETREATS if found is not compiled.multipliers else (1.0,):
        chosen = [
            1.0 / ((1.0 - share) / new + share / old)
            for new, old in zip(found, compiled.multipliers, strict=True)
        ]
        value = verified_bound(compiled.program, chosen, compiled.errors)
        if math.isfinite(value):
            break
    return value
