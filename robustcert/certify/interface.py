"""What a certifier is given and what it gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
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

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.labels)

    def subset(self, rows: Tensor) -> CertificationTask:
        """The same task for ``rows``: positions ``(M,)`` or a mask ``(N,)``."""
        return CertificationTask(
            self.graph,
            self.inputs[rows],
            self.labels[rows],
            self.norm,
            self.box,
            self.slack[rows],
        )

    def rows(self, start: int, stop: int) -> CertificationTask:
        """The same task for samples ``start`` to ``stop``."""
        return self.subset(torch.arange(start, min(stop, len(self))))


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """What a certifier says about one ball around each of N samples.

    Attributes:
        proved: ``(N,)`` bool: no input in the ball and the box is classified otherwise.
        suspects: by row, ``(*shape)`` float64: an input of the ball that seems to be
            classified otherwise. Nothing until it is verified on the model itself.
    """

    proved: Tensor
    suspects: Mapping[int, Tensor] = field(default_factory=dict)


class Certifier(Protocol):
    """A method, ready for one model and one norm.

    Both methods may raise :class:`~robustcert.errors.UnsupportedLayerError`, which
    names the layer without a rule.
    """

    def prove(
        self, task: CertificationTask, radii: Tensor, seconds: float = math.inf
    ) -> Proof:
        """Whether each sample keeps its class within its radius.

        Args:
            task: N samples, classified as labelled.
            radii: ``(N,)`` float64, finite, >= 0, in input units.
            seconds: a sample; a method that could go on for ever stops there.
        """
        ...

    def radii(self, task: CertificationTask, most: Tensor) -> Tensor:
        """Certified radii ``(N,)`` float64, finite, >= 0; 0 where nothing is proved.

        Args:
            task: N samples, classified as labelled.
            most: ``(N,)`` float64: more than this need not be looked for.
        """
        ...


Preparation = Callable[[LayerGraph, Norm], Certifier]
"""Does what depends on the model alone, once, and gives the certifier.

It may raise :class:`~robustcert.errors.UnsupportedLayerError`, which names the layer
without a rule.
"""
