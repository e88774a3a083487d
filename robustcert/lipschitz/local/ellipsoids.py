"""Bounds on what activations see from the ellipsoids that a program carries along.

At distance d from the centre, unit i of a frontier with covariance P differs from its
value at the centre by ``d sqrt(P_ii)`` at most.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from robustcert.graph.layers import Elementwise, LayerGraph
from robustcert.lipschitz.lipsdp.program import Program
from robustcert.lipschitz.local.enclosure import Enclosure
from robustcert.lipschitz.local.intervals import Interval, propagated
from robustcert.lipschitz.local.region import Region
from robustcert.lipschitz.rounding import gamma


def narrowed(
    graph: LayerGraph,
    region: Region,
    enclosed: Enclosure,
    program: Program,
    covariances: Sequence[Tensor],
) -> dict[str, Interval]:
    """The enclosure, met with the program's ellipsoids around the region's centre.

    Args:
        graph: float64; its activations have the names they have in the program.
        region: where the input lies.
        enclosed: of the graph over the region.
        program: dense, with slopes that hold within ``enclosed``.
        covariances: of the program's frontiers, proved.
    """
    centre = region.centre[None]
    at_centre = propagated(graph, Interval(centre, centre))
    seen = {
        layer.name: at_centre[layer.inputs[0]]
        for layer in graph.layers
        if isinstance(layer, Elementwise)
    }
    found = dict(enclosed)
    for stage, covariance, exponent in zip(
        program.stages, covariances, program.exponents, strict=False
    ):
        if stage.layer not in found:  # a rectifier that max pooling was written as
            continue
        variances = covariance.diagonal()[stage.acted].clamp(min=0.0)
        scale = region.diameter * math.ldexp(1.0 + gamma(16), -exponent)
        middle = seen[stage.layer]
        reach = torch.full_like(middle.low, torch.inf).flatten()
        reach[stage.units] = variances.sqrt() * scale
        around = middle.widened(reach.reshape(middle.low.shape))
        found[stage.layer] = found[stage.layer].meet(around)
    return found
