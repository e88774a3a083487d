"""LipSDP on the box of valid inputs."""

from __future__ import annotations

from dataclasses import replace

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.layers import Elementwise, LayerGraph
from robustcert.lipschitz.interface import Problem, required_graph
from robustcert.lipschitz.local.region import whole_box
from robustcert.lipschitz.upper.local import local_bound
from robustcert.lipschitz.upper.prepared import require_l2
from robustcert.results.bound import UpperBound
from robustcert.results.effort import Effort

LIPSDP_BOX = "lipsdp_box"
LARGEST_BOX = 2500
"""Units in all, up to which every one is followed by itself."""

_SECONDS = {Effort.FAST: 1.0, Effort.TIGHT: 20.0, Effort.MAX: 60.0}


def lipsdp_box(problem: Problem, effort: Effort) -> UpperBound:
    """Upper bound for pairs of inputs in the problem's box, its scope.

    Units that never switch in the box, and smooth activations that see a part of their
    domain alone, have narrower slopes there than they have everywhere.

    Raises:
        UnsupportedLayerError: there is no graph, a layer has no rule, the norm is not
            L2, or there are too many units.
        UnsoundModelError: a weight is NaN or infinite.
    """
    require_l2(problem)
    graph = required_graph(problem)
    _require_small(graph)
    region = whole_box(graph.input_shape, problem.box)
    bound = local_bound(graph, region, _SECONDS[effort])
    return replace(bound, method=LIPSDP_BOX)


def _require_small(graph: LayerGraph) -> None:
    units = sum(layer.size for layer in graph.layers if isinstance(layer, Elementwise))
    if units > LARGEST_BOX:
        raise UnsupportedLayerError(
            "model", f"{units} units are too many to be followed one by one"
        )
