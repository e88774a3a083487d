"""Corrupted Lipschitz certificates are refused, whatever was changed in them.

Each net's certificate claims what its multipliers prove. Then something is changed: a
multiplier is made too small or claims are lowered, a layer is renamed, left out, given
twice, has a multiplier too many, another torus; or the net's weights grow.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest
import torch

from robustcert.errors import CertificateError, DocumentError
from robustcert.graph.layers import Conv, LayerGraph, Linear
from robustcert.lipschitz.check.value import check
from robustcert.lipschitz.lipsdp.dense import dense_program
from robustcert.lipschitz.lipsdp.torus.program import hybrid_program, torus_program
from robustcert.lipschitz.upper.propagation import sound_folded
from robustcert.results.lipschitz_certificate import LipschitzCertificate
from robustcert.results.lipschitz_certificate_document import (
    certificate_document,
    certificate_from_document,
)
from tests.unit.lipschitz.certificates import certificate_of
from tests.unit.lipschitz.graphs import Sketch


def dense():
    net = Sketch(6, seed=1)
    for width in (8, 7, 5):
        net.linear(width)
        net.act()
    net.linear(3)
    return net.graph()


def convolutional():
    net = Sketch(2, 7, 7, seed=2)
    net.random_conv(4, padding=1)
    net.act()
    net.random_conv(5, size=4, stride=2, padding=1)
    net.act()
    net.random_conv(3, padding=1)
    net.act()
    net.flatten()
    net.linear(3)
    return net.graph()


def residual():
    net = Sketch(3, 6, 6, seed=3)
    net.random_conv(4, padding=1)
    stem = net.act()
    net.random_conv(4, padding=1)
    net.act()
    net.add(stem, net.random_conv(4, padding=1))
    net.act()
    net.flatten()
    net.linear(3)
    return net.graph()


def hybrid(graph: LayerGraph):
    return hybrid_program(graph, graph.layers[4].name)


SUBJECTS = {
    "dense": (dense, dense_program),
    "convolutional": (convolutional, torus_program),
    "hybrid": (convolutional, hybrid),
    "residual": (residual, torus_program),
    "residual, unrolled": (residual, dense_program),
}


@cache
def subject(name: str) -> tuple[LayerGraph, LipschitzCertificate]:
    make, program = SUBJECTS[name]
    graph = sound_folded(make())
    return graph, certificate_of(graph, program(graph))


def with_layer(certificate, number: int, **changes):
    layers = list(certificate.layers)
    layers[number] = replace(layers[number], **changes)
    return replace(certificate, layers=tuple(layers))


def with_multiplier(certificate, number: int, unit: int, factor: float):
    values = list(certificate.layers[number].values)
    values[unit] *= factor
    return with_layer(certificate, number, values=tuple(values))


def refused(graph: LayerGraph, certificate: LipschitzCertificate) -> bool:
    try:
        check(graph, certificate)
    except CertificateError:
        return True
    return False


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_certificate_itself_is_accepted_also_after_a_round_trip(name):
    graph, certificate = subject(name)
    assert check(graph, certificate) == certificate.value
    document = certificate_document(certificate)
    assert certificate_from_document(document) == certificate


@pytest.mark.parametrize("share", [1e-12, 1e-9, 1e-6, 1e-3, 0.5, 1.0])
@pytest.mark.parametrize("name", SUBJECTS)
def test_a_lower_claim_is_refused(name, share):
    graph, certificate = subject(name)
    assert refused(graph, replace(certificate, value=certificate.value * (1 - share)))


@pytest.mark.parametrize("factor", [0.0, 1e-9, 1e-3, 0.01])
@pytest.mark.parametrize("unit", [0, 1, 2])
@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("name", SUBJECTS)
def test_a_multiplier_far_too_small_is_refused(name, layer, unit, factor):
    graph, certificate = subject(name)
    assert refused(graph, with_multiplier(certificate, layer, unit, factor))


@pytest.mark.parametrize("power", [-1, 1, 40, 5000])
@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("name", SUBJECTS)
def test_another_exponent_is_refused(name, layer, power):
    graph, certificate = subject(name)
    exponent = certificate.layers[layer].exponent + power
    assert refused(graph, with_layer(certificate, layer, exponent=exponent))


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("name", SUBJECTS)
def test_a_wrong_layer_or_a_wrong_number_of_multipliers_is_refused(name, layer):
    graph, certificate = subject(name)
    part = certificate.layers[layer]
    others = certificate.layers[:layer] + certificate.layers[layer + 1 :]
    swapped = list(certificate.layers)
    swapped[layer], swapped[layer - 1] = swapped[layer - 1], swapped[layer]
    for changed in (
        with_layer(certificate, layer, layer="another"),
        with_layer(certificate, layer, values=part.values[:-1]),
        with_layer(certificate, layer, values=(*part.values, part.values[-1])),
        with_layer(certificate, layer, values=()),
        replace(certificate, layers=others),
        replace(certificate, layers=(*certificate.layers, part)),
        replace(certificate, layers=tuple(swapped)),
    ):
        assert refused(graph, changed)


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("name", ["convolutional", "residual"])
def test_another_torus_is_refused(name, layer):
    graph, certificate = subject(name)
    part = certificate.layers[layer]
    for torus in (
        None,
        tuple(size - 1 for size in part.torus),
        tuple(size + 1 for size in part.torus),
        (part.torus[0], part.torus[1] + 1),
        tuple(2 * size for size in part.torus),
        part.torus[:1],
        (1, 1),
    ):
        assert refused(graph, with_layer(certificate, layer, torus=torus))


@pytest.mark.parametrize("name", ["convolutional", "residual"])
def test_tori_that_are_all_too_small_for_the_padding_are_refused(name):
    graph, certificate = subject(name)
    small = [tuple(size // 2 for size in part.torus) for part in certificate.layers]
    layers = (
        replace(part, torus=torus)
        for part, torus in zip(certificate.layers, small, strict=True)
    )
    assert refused(graph, replace(certificate, layers=tuple(layers)))


@pytest.mark.parametrize("factor", [1.001, 2.0, 1e6, 1e200])
@pytest.mark.parametrize("name", SUBJECTS)
def test_weights_that_grew_are_refused(name, factor):
    graph, certificate = subject(name)
    for position, layer in enumerate(graph.layers):
        if isinstance(layer, Conv | Linear):
            layers = list(graph.layers)
            layers[position] = replace(layer, weight=factor * layer.weight)
            assert refused(LayerGraph(tuple(layers)), certificate)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", SUBJECTS)
def test_one_weight_that_became_large_is_refused(name, seed):
    graph, certificate = subject(name)
    generator = torch.Generator().manual_seed(seed)
    places = [i for i, x in enumerate(graph.layers) if isinstance(x, Conv | Linear)]
    position = places[seed % len(places)]
    layer = graph.layers[position]
    flat = layer.weight.flatten().clone()
    flat[torch.randint(len(flat), (1,), generator=generator)] = 1e3
    layers = list(graph.layers)
    layers[position] = replace(layer, weight=flat.reshape(layer.weight.shape))
    assert refused(LayerGraph(tuple(layers)), certificate)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, -1e-300])
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_multipliers_that_are_negative_or_no_numbers_cannot_be_written_or_read(
    layer, value
):
    _, certificate = subject("dense")
    values = (value, *certificate.layers[layer].values[1:])
    with pytest.raises(ValueError, match="multipliers"):
        with_layer(certificate, layer, values=values)
    document = certificate_document(certificate)
    document["layers"][layer]["multipliers"][0] = value
    with pytest.raises(DocumentError):
        certificate_from_document(document)
