"""The exact robust radius, within a solver's tolerance: for tests, never a claim.

Reference:
    Tjeng, Xiao, Tedrake. Evaluating Robustness of Neural Networks with Mixed Integer
    Programming. ICLR 2019: the smallest perturbation as an objective.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustcert.certify.gaps import with_gaps
from robustcert.certify.milp.encoding import Encoding, encoded, require_relu_net
from robustcert.certify.milp.highs import Rows, smallest
from robustcert.graph.layers import LayerGraph
from robustcert.lipschitz.local.region import Region
from robustcert.results.norm import Norm
from robustcert.results.threat_model import Box

TOLERANCE = 1e-5
"""What a gap may be off by, in logit units times the largest number in the program.

HiGHS lets rows fail by 1e-7 and integers by 1e-6, of which a big constant makes more.
The radius is off by that divided by how steeply the gap falls."""

SECONDS = 20.0
"""For one program."""

_FIRST = 2.0**-10
_GROWTH = 2.0
"""Balls grow by this factor, beginning with a small share of the largest one: small
balls have few unstable units, and small constants."""

_WIDER = 1.01


def oracle_radius(
    graph: LayerGraph,
    point: Tensor,
    label: int,
    box: Box,
    most: float = math.inf,
    slack: float = 0.0,
) -> float:
    """The smallest L-infinity distance at which some gap falls to ``slack``.

    This is HiGHS' answer, near the truth and on either side of it. Balls grow until one
    holds such an input; then it is found again in a ball hardly larger than itself,
    whose big constants are smaller.

    Args:
        graph: linear maps and rectifiers, tiny.
        point: ``(*shape)``, inside the box.
        label: its class.
        box: the inputs that count.
        most: the largest distance that is looked at, in input units.
        slack: in logit units.

    Returns:
        Input units; infinity where no such input lies within ``most``.

    Raises:
        UnsupportedLayerError: a layer is neither linear nor a rectifier, or too many
            units are unstable; names the layer.
        UsageError: HiGHS needs longer than :data:`SECONDS`, or scipy is missing.
    """
    require_relu_net(graph)
    gaps = with_gaps(graph.to(torch.float64), label)
    centre = point.detach().to("cpu", torch.float64)
    end = min(most, box.width)
    radius, found = end * _FIRST, math.inf
    while math.isinf(found) and radius < end:
        radius = min(radius * _GROWTH, end)
        found = _nearest(gaps, Region(centre, radius, Norm.LINF, box), slack)
    if math.isinf(found) or found == 0.0:
        return found
    again = _nearest(
        gaps, Region(centre, min(found * _WIDER, radius), Norm.LINF, box), slack
    )
    return found if math.isinf(again) else again


def _nearest(gaps: LayerGraph, region: Region, slack: float) -> float:
    """The smallest distance over all gaps, each found below the last one."""
    encoding = encoded(gaps, region)
    best, found = region.radius, math.inf
    for output in range(len(encoding.outputs.shift)):
        cost, rows = _distance_program(encoding, region, output, slack, best)
        distance = smallest(cost, rows, encoding.binaries, SECONDS)
        found = min(found, distance)
        best = min(best, found)
    return found


def _distance_program(
    encoding: Encoding, region: Region, output: int, slack: float, most: float
) -> tuple[Tensor, Rows]:
    """The distance as one more variable, the last; it is to be made small."""
    inputs, width = encoding.inputs, len(encoding.low)
    centre = region.centre.flatten()
    near = torch.zeros(2 * inputs, width + 1, dtype=torch.float64)
    order = torch.arange(inputs)
    near[order, order] = 1.0
    near[inputs + order, order] = -1.0
    near[:, -1] = -1.0
    gap = torch.zeros(1, width + 1, dtype=torch.float64)
    gap[0, :-1] = encoding.outputs.columns[:, output]
    limit = (slack - encoding.outputs.shift[output])[None]
    wide = torch.nn.functional.pad(encoding.rows, (0, 1))
    ends = torch.tensor([0.0, most], dtype=torch.float64)
    rows = Rows(
        torch.cat([wide, near, gap]),
        torch.cat([encoding.limits, centre, -centre, limit]),
        torch.cat([encoding.low, ends[:1]]),
        torch.cat([encoding.high, ends[1:]]),
    )
    cost = torch.zeros(width + 1, dtype=torch.float64)
    cost[-1] = 1.0
    return cost, rows
