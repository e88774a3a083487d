"""Max pooling written as rectifiers."""

from __future__ import annotations

import pytest
import torch

from robustcert.graph.execute import run
from robustcert.graph.layers import Elementwise, LayerGraph, MaxPool
from robustcert.lipschitz.lipsdp.compile import compiled, plain
from robustcert.lipschitz.lipsdp.dense import dense_program
from robustcert.lipschitz.lipsdp.multipliers import begin, scaled
from robustcert.lipschitz.lipsdp.pools import without_max_pools
from robustcert.lipschitz.lipsdp.torus.program import torus_program
from tests.unit.lipschitz.convolutional import Unrolled, with_rectifiers
from tests.unit.lipschitz.graphs import Sketch
from tests.unit.lipschitz.programs import bound_of

POOLS = [
    ((2, 6, 6), {}),
    ((1, 7, 5), {}),
    ((1, 7, 8), {"kernel": 3, "stride": 2}),
    ((2, 8, 7), {"kernel": 3, "stride": 2, "padding": 1}),
    ((1, 6, 6), {"kernel": 3, "stride": 1, "padding": 1}),
    ((1, 7, 7), {"kernel": 2, "stride": 2, "ceil": True}),
    ((1, 9, 8), {"kernel": 3, "stride": 2, "padding": 1, "ceil": True}),
    ((1, 9, 8), {"kernel": 2, "stride": 1, "dilation": 3}),
    ((2, 10), {"kernel": 4, "stride": 3, "padding": 2}),
    ((1, 6, 7), {"kernel": (1, 3), "stride": (2, 1), "padding": (0, 1)}),
    ((1, 5, 5), {"kernel": 2, "stride": 3}),
]
EACH_POOL = pytest.mark.parametrize(("shape", "settings"), POOLS)


def pool(shape, settings, *, rectified: bool) -> LayerGraph:
    net = Sketch(*shape)
    if rectified:
        net.act()
    net.maximum(**settings)
    net.flatten()
    net.linear(3)
    return net.graph()


def points(shape, count: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, *shape, generator=generator, dtype=torch.float64)


@EACH_POOL
def test_the_tree_of_a_rectified_input_is_the_pooling(shape, settings):
    graph = pool(shape, settings, rectified=True)
    tree = without_max_pools(graph)
    assert not any(isinstance(layer, MaxPool) for layer in tree.layers)
    torch.testing.assert_close(run(tree, points(shape)), run(graph, points(shape)))


@EACH_POOL
def test_names_are_unique_and_say_whose_they_are(shape, settings):
    graph = pool(shape, settings, rectified=False)
    names = [layer.name for layer in without_max_pools(graph).layers]
    assert len(set(names)) == len(names)
    (own,) = [layer.name for layer in graph.layers if isinstance(layer, MaxPool)]
    old = {layer.name for layer in graph.layers}
    assert all(name.startswith(f"{own}/") for name in names if name not in old)


@EACH_POOL
def test_no_pair_moves_a_pooling_further_than_the_trees_bound(shape, settings):
    graph = pool(shape, settings, rectified=False)
    program = dense_program(without_max_pools(graph))
    bound = bound_of(program, begin(program, scaled))
    first = points(shape)
    for step in (1e-3, 0.3, 3.0):
        second = first + step * points(shape).roll(1, 0)
        moved = (run(graph, first) - run(graph, second)).norm(dim=1)
        assert (moved / (first - second).flatten(1).norm(dim=1)).max() <= bound


@EACH_POOL
def test_a_tree_on_a_torus_is_the_tree_at_valid_positions(shape, settings):
    net = Sketch(*shape)
    net.act(source=net.random_conv(2, 3, padding=1))
    net.maximum(**settings)
    net.random_conv(2, 3, padding=1)
    net.act()
    net.flatten()
    net.linear(2)
    graph = with_rectifiers(plain(net.graph()))
    dense, torus = dense_program(graph), torus_program(graph)
    unrolled = Unrolled(graph, torus)
    assert len(torus.torus) == len(dense.stages)
    for number, stage in enumerate(dense.stages):
        spread, _ = unrolled.stage(number)
        scale = 2.0 ** (dense.exponents[number] - dense.exponents[number + 1])
        torch.testing.assert_close(spread, scale * stage.spread[0, 0])


def test_a_pooling_without_overlap_has_constant_one():
    net = Sketch(1, 4, 6)
    net.maximum()
    net.flatten()
    program = dense_program(without_max_pools(net.graph()))

    def barely_feasible(_, inputs):
        return (1.0 + 1e-9) * 0.25 * inputs[0].diagonal()

    bound = bound_of(program, begin(program, barely_feasible))
    assert 1.0 <= bound <= 1.0 + 1e-6


@pytest.mark.parametrize(
    ("extent", "settings"),
    [
        (8, {"kernel": 2, "stride": 2}),
        (9, {"kernel": 2, "stride": 2}),
        (8, {"kernel": 3, "stride": 2, "padding": 1}),
        (9, {"kernel": 3, "stride": 2, "padding": 1}),
        (9, {"kernel": 3, "stride": 2}),
        (8, {"kernel": 3, "stride": 1, "padding": 1}),
    ],
)
def test_a_padded_convolution_behind_a_usual_pooling_needs_no_mask(extent, settings):
    net = Sketch(1, extent, extent)
    net.act(source=net.random_conv(2, 3, padding=1))
    net.maximum(**settings)
    net.act(source=net.random_conv(2, 3, padding=1))
    net.flatten()
    net.linear(2)
    assert not any(layer.name.endswith("(mask)") for layer in plain(net.graph()).layers)


def test_a_pooling_net_gets_a_program_with_a_multiplier_a_rectifier():
    net = Sketch(1, 28, 28)
    net.act(source=net.random_conv(2, 3, padding=1))
    net.maximum()
    net.act(source=net.random_conv(2, 3, padding=1))
    net.flatten()
    net.linear(2)
    program = compiled(net.graph())
    simple = plain(net.graph())
    activations = [x.name for x in simple.layers if isinstance(x, Elementwise)]
    assert list(program.torus) == activations
    assert [stage.layer for stage in program.stages] == activations
