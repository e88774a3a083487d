"""Graphs compiled for LipSDP, and the bounds that multipliers give."""

from __future__ import annotations

import math

import pytest
import torch

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.activations import Activation, ActivationKind
from robustcert.lipschitz.lipsdp.dense import dense_program
from robustcert.lipschitz.lipsdp.frontier import steps
from robustcert.lipschitz.lipsdp.multipliers import begin, flat, scaled
from tests.unit.lipschitz.graphs import Sketch, absolute_value, random_orthogonal
from tests.unit.lipschitz.programs import (
    bound_of,
    jacobian_of_graph,
    jacobian_of_program,
)

LEAKY = Activation(ActivationKind.LEAKY_RELU, (0.2,))
GELU = Activation(ActivationKind.GELU)
STARTS = pytest.mark.parametrize("choose", [flat, scaled])


def chain(seed: int = 0, activation=None) -> Sketch:
    net = Sketch(5, seed=seed)
    for width in (7, 6):
        net.linear(width)
        net.act(activation) if activation else net.act()
    net.linear(3)
    return net


def residual(activation=None) -> Sketch:
    net = Sketch(2, 5, 5)
    stem = net.act(source=net.random_conv(3, padding=1))
    net.random_conv(4, stride=2, padding=1)
    net.act(activation) if activation else net.act()
    branch = net.random_conv(4, padding=1)
    net.act(LEAKY, source=net.add(branch, net.random_conv(4, 1, stride=2, source=stem)))
    net.flatten()
    net.linear(3)
    return net


def joined() -> Sketch:
    net = Sketch(4)
    first = net.act(source=net.linear(3))
    second = net.act(GELU, source=net.linear(2, source=0))
    net.concat(first, second, 0)
    net.linear(2)
    return net


@pytest.mark.parametrize(
    "net",
    [chain(), chain(activation=LEAKY), residual(), residual(GELU), joined()],
    ids=["chain", "leaky", "residual", "residual gelu", "joined"],
)
def test_a_program_holds_the_map_for_any_slopes(net):
    graph = net.graph()
    program = dense_program(graph)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        point = torch.randn(graph.input_shape, generator=generator).double()
        assert torch.allclose(
            jacobian_of_program(program, graph, point),
            jacobian_of_graph(graph, point),
            atol=1e-12,
        )


@STARTS
@pytest.mark.parametrize(
    "net",
    [chain(), chain(activation=GELU), residual(), joined()],
    ids=["chain", "gelu", "residual", "joined"],
)
def test_feasible_multipliers_bound_every_jacobian(net, choose):
    graph = net.graph()
    program = dense_program(graph)
    bound = bound_of(program, begin(program, choose))
    generator = torch.Generator().manual_seed(2)
    points = 3.0 * torch.randn(64, *graph.input_shape, generator=generator).double()
    norms = [torch.linalg.matrix_norm(jacobian_of_graph(graph, x), 2) for x in points]
    assert max(norms) <= bound


def test_narrower_slopes_give_a_smaller_bound_and_known_slopes_the_exact_map():
    graph = chain().graph()
    names = [layer.name for layer in graph.layers if layer.kind == "elementwise"]
    on, off = torch.ones(7).double(), torch.zeros(7).double()
    half = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0, 0.0]).double()
    program = dense_program(graph, {names[0]: (on, on), names[1]: (half, half)})
    assert program.units == (0, 0)
    first, second, third = (
        layer.weight for layer in graph.layers if layer.kind == "linear"
    )
    exact = torch.linalg.matrix_norm(third @ (half[:, None] * (second @ first)), 2)
    assert bound_of(program, begin(program, flat)) == pytest.approx(float(exact))
    narrow = dense_program(graph, {names[0]: (off, 0.5 * on)})
    wide = dense_program(graph)
    assert bound_of(narrow, begin(narrow, flat)) < bound_of(wide, begin(wide, flat))


def test_the_absolute_value_is_bounded_by_one_as_its_multipliers_near_their_limit():
    program = dense_program(absolute_value())
    scale = 4.0 ** program.exponents[0]
    for excess in (1.0, 0.1, 1e-6):
        multiplier = 0.5 * (1.0 + excess) * scale * torch.ones(2).double()
        bound = bound_of(program, [multiplier])
        assert bound == pytest.approx(math.sqrt(1.0 + excess))
    assert bound_of(program, [0.49 * scale * torch.ones(2).double()]) is None


@STARTS
def test_orthogonal_layers_keep_a_bound_of_one(choose):
    net = Sketch(6)
    for seed in range(3):
        net.linear(random_orthogonal(6, seed))
        net.act()
    net.linear(random_orthogonal(6, 9))
    program = dense_program(net.graph())
    assert bound_of(program, begin(program, choose)) == pytest.approx(1.0)


def test_a_net_without_activations_has_its_exact_norm():
    net = Sketch(5)
    net.linear(4)
    net.linear(3)
    program = dense_program(net.graph())
    assert program.stages == ()
    product = net.layers[2].weight @ net.layers[1].weight
    exact = float(torch.linalg.matrix_norm(product, 2))
    assert bound_of(program, []) == pytest.approx(exact)


@STARTS
@pytest.mark.parametrize("factor", [1e-20, 1e20])
def test_scales_of_twenty_digits_neither_vanish_nor_overflow(factor, choose):
    plain = dense_program(chain().graph())
    net = chain()
    net.layers = [
        layer if layer.kind != "linear" else _times(layer, factor)
        for layer in net.layers
    ]
    program = dense_program(net.graph())
    bound = bound_of(program, begin(program, choose))
    assert bound == pytest.approx(bound_of(plain, begin(plain, choose)) * factor**3)


def _times(layer, factor):
    return type(layer)(
        layer.name, layer.inputs, layer.shape, layer.weight * factor, layer.bias
    )


def test_both_branches_of_a_strided_block_run_before_their_input_is_dropped():
    graph = residual().graph()
    alive = [
        {graph.layers[position].shape for position in step.after}
        for step in steps(graph)
    ]
    assert alive[1] == {(4, 3, 3)}  # behind the stem: both branches, on the small grid


def test_a_layer_without_slopes_is_refused_by_name():
    net = Sketch(1, 4, 4)
    net.maximum()
    net.flatten()
    net.linear(2)
    with pytest.raises(UnsupportedLayerError, match="maxpool1"):
        dense_program(net.graph())


def test_a_layer_too_large_for_matrices_is_refused_by_name():
    net = Sketch(1, 96, 96)
    net.random_conv(1, 1)
    net.act()
    net.flatten()
    net.linear(2)
    with pytest.raises(UnsupportedLayerError, match="too many"):
        dense_program(net.graph())
