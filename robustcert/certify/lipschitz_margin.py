"""Radius = margin / Lipschitz bound, for each pair of logits on its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustcert.certify.interface import CertificationTask, Certifier
from robustcert.certify.logits import binary_as_pair
from robustcert.graph.execute import run
from robustcert.graph.layers import LayerGraph
from robustcert.lipschitz.upper.pair_search import searched_pair_bounds
from robustcert.results.norm import Norm
from robustcert.tensors import box_diameter

SECONDS = 10.0
"""For the search of the constants, once a model."""
ROUNDING = 1.0 - 1e-12
"""The radius is a quotient of float64 numbers, rounded down by this factor."""


def lipschitz_margin(graph: LayerGraph, norm: Norm) -> Certifier:
    """Radius = the smallest over classes k of (f_y - f_k) / L_yk.

    L_yk bounds the Lipschitz constant of ``f_y - f_k`` from the input norm to the
    absolute value, so no input nearer than that radius lets class k overtake y. For a
    linear model this is the exact distance (boxes apart).

    Reference:
        Tsuzuku, Sato, Sugiyama. Lipschitz-Margin Training. NeurIPS 2018, Prop. 1;
        with one constant a pair of logits instead of sqrt(2) L for all; in L2 by
        LipSDP (Fazlyab et al., NeurIPS 2019).
    """
    bounds = searched_pair_bounds(graph, norm, SECONDS)

    def certifier(task: CertificationTask) -> Tensor:
        logits = binary_as_pair(run(task.graph, task.inputs))
        mine = logits.gather(1, task.labels[:, None])
        gaps = mine - logits - task.slack[:, None]
        quotients = torch.where(
            gaps > 0.0, gaps / bounds[task.labels], torch.zeros_like(gaps)
        )
        quotients = quotients.scatter(1, task.labels[:, None], math.inf)
        cap = box_diameter(task.box, task.inputs[0].numel(), task.norm)
        return (quotients.amin(dim=1) * ROUNDING).clamp(min=0.0, max=cap)

    return certifier
