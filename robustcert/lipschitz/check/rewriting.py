"""The graph that a certificate's multipliers are about."""

from __future__ import annotations

from dataclasses import fields, replace

from torch import Tensor

from robustcert.errors import CertificateError
from robustcert.graph.layers import Elementwise, Layer, LayerGraph, MaxPool
from robustcert.lipschitz.lipsdp.masks import with_masks
from robustcert.lipschitz.lipsdp.pools import without_max_pools
from robustcert.results.lipschitz_certificate import LipschitzCertificate

_MASK = " (mask)"


def rewritten(graph: LayerGraph, certificate: LipschitzCertificate) -> LayerGraph:
    """The graph without max pooling, with identities where the certificate names them.

    Identities behind linear layers come from the search's own code, as there is nothing
    to choose; they are taken out again here to see that nothing else was changed.

    Raises:
        CertificateError: the graph with identities is another function.
    """
    simple = graph
    if any(isinstance(layer, MaxPool) for layer in graph.layers):
        simple = without_max_pools(graph)
    if not any(part.layer.endswith(_MASK) for part in certificate.layers):
        return simple
    masked = with_masks(simple)
    if not _same(_without_identities(masked), simple):
        raise CertificateError("the masks that it names change the net")
    return masked


def _without_identities(graph: LayerGraph) -> LayerGraph:
    places: list[int] = []
    kept: list[Layer] = []
    for layer in graph.layers:
        inputs = tuple(places[source] for source in layer.inputs)
        if layer.name.endswith(_MASK) and _is_identity(layer):
            places.append(inputs[0])
        else:
            places.append(len(kept))
            kept.append(replace(layer, inputs=inputs))
    return LayerGraph(tuple(kept))


def _is_identity(layer: Layer) -> bool:
    return isinstance(layer, Elementwise) and layer.activation.slopes == (1.0, 1.0)


def _same(first: LayerGraph, second: LayerGraph) -> bool:
    return len(first.layers) == len(second.layers) and all(
        type(one) is type(other)
        and all(
            _equal(getattr(one, field.name), getattr(other, field.name))
            for field in fields(one)
        )
        for one, other in zip(first.layers, second.layers, strict=True)
    )


def _equal(one: object, other: object) -> bool:
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return one is other
    return one == other
