"""Bounds on a region from bounds on every entry of the Jacobian there.

Each activation's slope is enclosed over the region; then
:mod:`robustcert.lipschitz.lipsdp.change_bounds` bounds how far each logit moves with
each input. Units of known slope add nothing, so on a small ball the bound is close to
the norm of one Jacobian.
"""

from __future__ import annotations

import torch

from robustcert.graph.layers import LayerGraph
from robustcert.lipschitz.lipsdp.change_bounds import ChangeBounds, change_bounds
from robustcert.lipschitz.lipsdp.dense import dense_program
from robustcert.lipschitz.lipsdp.map_errors import map_errors
from robustcert.lipschitz.lipsdp.pools import without_max_pools
from robustcert.lipschitz.local.enclosure import enclosure, slopes_within
from robustcert.lipschitz.local.region import Region
from robustcert.lipschitz.matrix_norm import spectral_norm_bound
from robustcert.lipschitz.rounding import power_up, sum_up
from robustcert.lipschitz.upper.propagation import check_finite, sound_folded
from robustcert.results.bound import UpperBound
from robustcert.results.norm import Norm

NAME = "interval_jacobian"


def interval_jacobian_bound(
    graph: LayerGraph, region: Region, norm: Norm
) -> UpperBound:
    """Upper bound of the graph restricted to the region.

    L-infinity: the largest sum of a row of entries' bounds. L2: the spectral norm of
    the Jacobian with all open slopes in their middle plus that of the bounds on what
    they add, or the norm of the bounds on all entries where that is less.

    Args:
        graph: any.
        region: convex.
        norm: of inputs and logits alike; the region's may be another.

    Raises:
        UnsupportedLayerError: a layer has no rule, or the graph is too large for dense
            matrices.
        UnsoundModelError: a weight is NaN or infinite.
    """
    with torch.no_grad():
        check_finite(graph)
        shipped = graph.to(torch.float64)
        simple = without_max_pools(sound_folded(graph))
        slopes = slopes_within(shipped, enclosure(shipped, region, {}))
        program = dense_program(simple, slopes)
        inputs = program.start.shape[3]
        moves = torch.ones(inputs, 1) if norm is Norm.LINF else torch.eye(inputs)
        errors = map_errors(simple, Norm.LINF)
        bounds = change_bounds(program, errors, moves.to(torch.float64))
        size = float(bounds.whole.max()) if norm is Norm.LINF else _spectral(bounds)
    value = power_up(size, -program.exponents[-1])
    return UpperBound(value, norm, NAME, region.scope)


def _spectral(bounds: ChangeBounds) -> float:
    middle = spectral_norm_bound(bounds.straight[None])
    return min(
        sum_up(middle, spectral_norm_bound(bounds.bent[None])),
        spectral_norm_bound(bounds.whole[None]),
    )
