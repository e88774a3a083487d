"""What a certifier is given and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from robustcert.graph.layers import LayerGraph
from robustcert.results.norm import Norm
from robustcert.results.threat_model import Box


@dataclass(frozen=True, slots=True, eq=False)
class CertificationTask:
    """Samples to certify.

    Attributes:
        graph: float64, ends in the logits.
        inputs: ``(N, *shape)`` float64, inside ``box``.
        labels: ``(N,)`` int64.
        norm: of the radius.
        box: inputs outside it are not perturbations.
        slack: ``(N,)`` float64 >= 0, in logit units. A margin counts only above it; it
            covers the distance between the network over the reals, of which the
            certificate speaks, and the one that runs.
    """

    graph: LayerGraph
    inputs: Tensor
    labels: Tensor
    norm: Norm
    box: Box
    slack: Tensor

    def rows(self, start: int, stop: int) -> CertificationTask:
        """The same task for samples ``start`` to ``stop``."""
        return CertificationTask(
            self.graph,
            self.inputs[start:stop],
            self.labels[start:stop],
            self.norm,
            self.box,
            self.slack[start:stop],
        )


Certifier = Callable[[CertificationTask], Tensor]
"""Certified radii ``(N,)`` float64, >= 0, finite; 0 where nothing is proved."""

Preparation = Callable[[LayerGraph, Norm], Certifier]
"""Does what depends on the model alone, once, and gives the certifier.

Either may raise :class:`~robustcert.errors.UnsupportedLayerError`, which names the
layer without a rule.
"""
