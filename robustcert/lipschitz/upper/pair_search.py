"""Bounds for differences of two logits, with multipliers found by a search."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor

from robustcert.errors import CertificateError, UnsupportedLayerError
from robustcert.graph.layers import LayerGraph
from robustcert.lipschitz.check.value import certified_covariance
from robustcert.lipschitz.lipsdp.compile import compiled
from robustcert.lipschitz.lipsdp.search.minimise import minimised
from robustcert.lipschitz.upper.pair_bounds import (
    pair_bounds,
    pairs_of_covariance,
)
from robustcert.lipschitz.upper.proof import proved_certificate
from robustcert.lipschitz.upper.propagation import sound_folded
from robustcert.lipschitz.weighted import with_output_rows
from robustcert.results.norm import Norm


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


def searched_pair_bounds(graph: LayerGraph, norm: Norm, seconds: float) -> Tensor:
    """``(K, K)`` bounds of ``f_y - f_k``; see :func:`pair_bounds`.

    In L2 they are tightened by one ellipsoid that holds the changes of all logits,
    found by LipSDP for the logits together and proved by the checker.

    Args:
        graph: as shipped.
        norm: of the inputs.
        seconds: for the search of multipliers.

    Raises:
        UnsupportedLayerError: a layer has no rule in the product of norms.
        UnsoundModelError: a weight is NaN or infinite.
    """
    known = None
    if norm is Norm.L2:
        with contextlib.suppress(UnsupportedLayerError, CertificateError):
            known = pairs_of_covariance(_covariance(graph, seconds))
    return pair_bounds(graph, norm, known=known)


def _covariance(graph: LayerGraph, seconds: float) -> Tensor:
    simple = sound_folded(graph)
    with torch.no_grad():
        program = compiled(simple)
        found = minimised(program, seconds, lambda _: None).multipliers
    certificate = proved_certificate(simple, program, found)
    return torch.from_numpy(certified_covariance(simple, certificate))
