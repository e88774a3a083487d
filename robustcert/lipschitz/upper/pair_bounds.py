"""Upper bounds for differences of two logits: what a margin can lose."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustcert.graph.layers import Conv, LayerGraph, Linear
from robustcert.lipschitz.linear_region import (
    LinearRegion,
    RegionMatrix,
    region_from,
    region_from_activations,
    region_matrices,
)
from robustcert.lipschitz.matrix_norm import FOLDING
from robustcert.lipschitz.norm_table import NormTable
from robustcert.lipschitz.rounding import gamma
from robustcert.lipschitz.upper.propagation import layer_bounds, sound_folded
from robustcert.results.norm import Norm

_UNDERFLOW = 1e-150  # squares of differences below this may vanish


def pair_bounds(
    graph: LayerGraph,
    norm: Norm,
    table: NormTable | None = None,
    known: Tensor | None = None,
) -> Tensor:
    """``(K, K)`` bounds of ``f_y - f_k`` from inputs in ``norm`` to absolute values.

    With the last affine layers written as ``A h``, ``|f_y - f_k|`` moves at most
    ``|a_y - a_k|_q L_h`` where q is dual to p and L_h bounds h; where h comes from
    several layers their shares add up. Exact, up to rounding, for a linear layer.
    Never above ``sqrt(2) L`` (L2) or ``2 L`` (L-infinity) for the bound L of all
    logits. A single logit z stands for the two logits (0, z), and K is 2.

    Args:
        graph: as shipped.
        norm: of the inputs.
        table: norms of layers that are known already, and where new ones are put.
        known: ``(K, K)`` bounds proved in other ways, such as
            :func:`pairs_of_covariance`; the smaller one counts.

    Returns:
        Symmetric, float64, on the CPU, with a diagonal of zeros.

    Raises:
        UnsupportedLayerError: a layer has no rule.
        UnsoundModelError: a weight is NaN or infinite.

    Reference:
        Tsuzuku, Sato, Sugiyama. Lipschitz-Margin Training. NeurIPS 2018, Prop. 1.
    """
    simple = sound_folded(graph)
    bounds = layer_bounds(simple, norm, table)
    single = simple.outputs == 1
    classes = 2 if single else simple.outputs
    best = _whole_bound(bounds[-1], norm, classes, single=single)
    for region in _last_regions(simple):
        total = torch.zeros_like(best)
        for part in region_matrices(simple, region):
            if bounds[part.source] > 0.0:
                rows = _with_zero_row(part) if single else part
                total = total + _row_distances(rows, norm) * bounds[part.source]
        best = torch.minimum(best, total * (1.0 + gamma(8 * len(region.sources))))
    if known is not None:
        best = torch.minimum(best, torch.minimum(known, known.T))
    return best.fill_diagonal_(0.0)


def pairs_of_covariance(covariance: Tensor) -> Tensor:
    """``(K, K)`` bounds of ``f_y - f_k`` from an ellipsoid that holds all changes.

    ``|f_y - f_k|`` moves at most ``sqrt((e_y - e_k)^T G (e_y - e_k))`` in L2, rounded
    up. That is at most ``sqrt(2 lambda_max(G))``, and far less where logits move
    together. A single logit z stands for the two logits (0, z).

    Args:
        covariance: ``(K, K)`` G in float64, proved: every change of the logits y by
            inputs at distance 1 satisfies ``y^T G^-1 y <= 1``.
    """
    if len(covariance) == 1:
        wide = torch.zeros(2, 2, dtype=covariance.dtype, device=covariance.device)
        wide[1, 1] = covariance[0, 0]
        return pairs_of_covariance(wide)
    variances = covariance.diagonal().clamp(min=0.0)
    sums = variances[:, None] + variances
    shared = covariance + covariance.T
    slack = gamma(8) * (sums + shared.abs())
    squares = (sums - shared).clamp(min=0.0) + slack
    return (squares.sqrt() * (1.0 + gamma(4))).fill_diagonal_(0.0)


def _whole_bound(bound: float, norm: Norm, classes: int, *, single: bool) -> Tensor:
    """From ``|f_y - f_k| <= c |f|_p``: c is 1 for one logit beside a constant 0."""
    factor = 1.0 if single else (2.0 if norm is Norm.LINF else math.sqrt(2.0))
    whole = math.nextafter(factor, math.inf) * bound if bound else 0.0
    return torch.full((classes, classes), whole, dtype=torch.float64) * (1 + gamma(4))


def _last_regions(graph: LayerGraph) -> list[LinearRegion]:
    """The stretch after the last activations, and the last weights alone."""
    last = len(graph.layers) - 1
    regions = [region_from_activations(graph, last)]
    position = last
    while len(graph.layers[position].inputs) == 1:
        layer = graph.layers[position]
        if isinstance(layer, Linear | Conv):
            regions.append(region_from(graph, last, frozenset(layer.inputs)))
            break
        if position in regions[0].sources:
            break
        position = layer.inputs[0]
    return regions


def _with_zero_row(part: RegionMatrix) -> RegionMatrix:
    zero = torch.zeros_like(part.matrix)
    return RegionMatrix(
        part.source, torch.cat([zero, part.matrix]), torch.cat([zero, part.error])
    )


def _row_distances(part: RegionMatrix, norm: Norm) -> Tensor:
    """``(K, K)`` dual norms of differences of rows, rounded up."""
    p = norm.dual.value
    distances = torch.cdist(
        part.matrix, part.matrix, p=p, compute_mode="donot_use_mm_for_euclid_dist"
    )
    moved = (part.error + FOLDING * part.matrix.abs()).sum(dim=1)
    slack = moved + (moved > 0.0).to(moved) * _UNDERFLOW
    columns = part.matrix.shape[1]
    return (distances + slack[:, None] + slack) * (1.0 + gamma(columns + 16))
