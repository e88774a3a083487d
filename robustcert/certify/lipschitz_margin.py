"""Radius = margin / Lipschitz bound, for each pair of logits on its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.certify.interface import CertificationTask, Certifier, Proof
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


@dataclass(frozen=True, slots=True, eq=False)
class LipschitzMargin:
    """Radius = the smallest over classes k of (f_y - f_k) / L_yk.

    L_yk bounds the Lipschitz constant of ``f_y - f_k`` from the input norm to the
    absolute value, so no input nearer than that radius lets class k overtake y. For a
    linear model this is the exact distance (boxes apart).

    Attributes:
        bounds: ``(K, K)`` float64, L_yk.

    Reference:
        Tsuzuku, Sato, Sugiyama. Lipschitz-Margin Training. NeurIPS 2018, Prop. 1;
        with one constant a pair of logits instead of sqrt(2) L for all; in L2 by
        LipSDP (Fazlyab et al., NeurIPS 2019).
    """

    bounds: Tensor

    def prove(
        self,
        task: CertificationTask,
        radii: Tensor,
        seconds: float = math.inf,  # noqa: ARG002 - a quotient takes no time
    ) -> Proof:
        """See :meth:`robustcert.certify.interface.Certifier.prove`."""
        widest = box_diameter(task.box, task.inputs[:1].numel(), task.norm)
        gaps = self._gaps(task)
        within = self._radii(task, gaps) >= radii.clamp(max=widest)
        return Proof(within & (gaps.amin(dim=1) > 0.0))

    def radii(self, task: CertificationTask, most: Tensor) -> Tensor:
        """See :meth:`robustcert.certify.interface.Certifier.radii`."""
        widest = box_diameter(task.box, task.inputs[:1].numel(), task.norm)
        return self._radii(task, self._gaps(task)).minimum(most.clamp(max=widest))

    def _gaps(self, task: CertificationTask) -> Tensor:
        """``(N, K)`` what each other logit lacks; infinite at the label."""
        with torch.no_grad():
            logits = binary_as_pair(run(task.graph, task.inputs))
        mine = logits.gather(1, task.labels[:, None])
        gaps = mine - logits - task.slack[:, None]
        return gaps.scatter(1, task.labels[:, None], math.inf)

    def _radii(self, task: CertificationTask, gaps: Tensor) -> Tensor:
        quotients = torch.where(
            gaps > 0.0, gaps / self.bounds[task.labels], torch.zeros_like(gaps)
        )
        quotients = quotients.scatter(1, task.labels[:, None], math.inf)
        return quotients.amin(dim=1) * ROUNDING


def lipschitz_margin(graph: LayerGraph, norm: Norm) -> Certifier:
    """The certifier for one model and norm."""
    return LipschitzMargin(searched_pair_bounds(graph, norm, SECONDS))
