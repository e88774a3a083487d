"""A step of a graph and what is known about the layers around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from robustcert.errors import CertificateError
from robustcert.graph.layers import Layer, LayerGraph, Shape
from robustcert.lipschitz.check.pull_back import smallest_exponent
from robustcert.lipschitz.check.tori import Torus
from robustcert.lipschitz.lipsdp.frontier import Step

_LEAST_EXPONENT = -900


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """A step of a graph without max pooling, and the layers that stand on a torus."""

    graph: LayerGraph
    step: Step
    tori: Mapping[int, Torus]

    @property
    def on_torus(self) -> list[int]:
        """The step's linear layers on a torus."""
        return [member for member in self.step.members if member in self.tori]

    def shapes(self, layer: Layer) -> list[Shape]:
        """Shapes of the layer's inputs."""
        return [self.graph.layers[source].shape for source in layer.inputs]

    def members(self) -> list[Layer]:
        """The step's linear layers.

        Raises:
            CertificateError: a product of their weights and a slope may leave the
                normal range, so that a unit might seem to hear nothing.
        """
        layers = [self.graph.layers[member] for member in self.step.members]
        heard = (self.graph.layers[self.step.source], *layers)
        if sum(min(0, smallest_exponent(layer)) for layer in heard) < _LEAST_EXPONENT:
            raise CertificateError("products of its weights leave the range of float64")
        return layers
