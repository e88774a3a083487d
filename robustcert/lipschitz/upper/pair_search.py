"""The bound for one difference of logits, with multipliers found for it alone."""

from __future__ import annotations

import torch

from robustcert.graph.layers import LayerGraph
from robustcert.lipschitz.lipsdp.compile import compiled
from robustcert.lipschitz.lipsdp.search.minimise import minimised
from robustcert.lipschitz.upper.proof import proved_certificate
from robustcert.lipschitz.upper.propagation import sound_folded
from robustcert.lipschitz.weighted import with_output_rows


def pair_bound(graph: LayerGraph, first: int, second: int, seconds: float) -> float:
    """Upper bound in L2 of ``f_first - f_second``, proved by the checker.

    LipSDP on the graph with one output row, whose objective is smooth.

    Args:
        graph: any.
        first: a logit.
        second: another.
        seconds: for the search of multipliers; 0 takes those it would begin with.

    Raises:
        UnsupportedLayerError: a layer has no rule.
        UnsoundModelError: a weight is NaN or infinite.
        CertificateError: the checker can prove nothing from the multipliers.
    """
    row = torch.zeros(1, graph.outputs, dtype=torch.float64)
    row[0, first] += 1.0
    row[0, second] -= 1.0
    return row_bound(with_output_rows(graph, row), seconds)


def row_bound(graph: LayerGraph, seconds: float) -> float:
    """Upper bound in L2 of a graph, proved by the checker; as :func:`pair_bound`."""
    with torch.no_grad():
        simple = sound_folded(graph)
        program = compiled(simple)
        found = minimised(program, seconds, lambda _: None).multipliers
    return proved_certificate(simple, program, found).value
