"""Our LipSDP against an interior-point solver, on thirty small nets."""

from __future__ import annotations

import pytest

from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.layers import LayerGraph
from robustcert.lipschitz.lipsdp.dense import dense_program
from robustcert.lipschitz.lipsdp.search.minimise import minimised
from robustcert.lipschitz.registry import UPPER_METHODS
from robustcert.results.effort import Effort
from tests.differential.lipsdp_oracle import lipsdp, read
from tests.unit.lipschitz.graphs import Sketch, problem

SECONDS = 20.0
LEAKY = Activation(ActivationKind.LEAKY_RELU, (0.1,))
GELU = Activation(ActivationKind.GELU)
SIGMOID = Activation(ActivationKind.SIGMOID)
RELU = Activation(ActivationKind.RELU)


def chain(widths: tuple[int, ...], activation: Activation, seed: int) -> LayerGraph:
    net = Sketch(widths[0], seed=seed)
    for width in widths[1:-1]:
        net.linear(width)
        net.act(activation)
    net.linear(widths[-1])
    return net.graph()


def residual(activation: Activation, seed: int) -> LayerGraph:
    net = Sketch(6, seed=seed)
    first = net.act(activation, source=net.linear(7))
    net.act(activation, source=net.linear(5))
    second = net.add(first, net.linear(7))
    net.act(activation, source=net.linear(4))
    net.add(second, net.linear(7), -1.0)
    net.linear(3)
    return net.graph()


def convolution(activation: Activation, seed: int) -> LayerGraph:
    net = Sketch(2, 5, 4, seed=seed)
    net.random_conv(3, stride=2, padding=1)
    net.act(activation)
    net.random_conv(2, padding=1)
    net.act(activation)
    net.flatten()
    net.linear(3)
    return net.graph()


def convolution_with_skip(activation: Activation, seed: int) -> LayerGraph:
    net = Sketch(1, 4, 3, seed=seed)
    stem = net.act(activation, source=net.random_conv(2, padding=1))
    branch = net.act(activation, source=net.random_conv(2, padding=1))
    net.add(stem, branch)
    net.average()
    net.flatten()
    net.linear(3)
    return net.graph()


NETS = {
    **{
        f"chain {'-'.join(map(str, widths))}": chain(widths, RELU, seed)
        for seed, widths in enumerate(
            [
                (4, 6, 3),
                (8, 5, 1),
                (3, 9, 9, 4),
                (6, 6, 6, 6, 2),
                (5, 1, 4),
                (7, 12, 10),
            ]
        )
    },
    **{
        f"{make.__name__} {activation.kind.value} {seed}": make(activation, seed)
        for make in (residual, convolution, convolution_with_skip)
        for activation in (RELU, LEAKY, GELU, SIGMOID)
        for seed in (0, 1)
    },
}


def test_there_are_thirty_nets():
    assert len(NETS) == 30


@pytest.mark.parametrize("name", NETS)
def test_the_search_ends_at_the_optimum_and_the_proof_is_never_below(name):
    graph = NETS[name]
    optimum = lipsdp(read(graph))
    found = minimised(dense_program(graph), SECONDS, lambda _: None)
    assert found.value >= optimum.lower * (1.0 - 1e-6)
    assert found.value <= optimum.upper * (1.0 + 1e-4)
    if found.gap is not None:
        assert found.value * (1.0 - found.gap) <= optimum.upper * (1.0 + 1e-6)
    bound = UPPER_METHODS["lipsdp"](problem(graph), Effort.TIGHT)
    assert optimum.lower * (1.0 - 1e-6) <= bound.value
    assert bound.value <= optimum.upper * (1.0 + 1e-4)
