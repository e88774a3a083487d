"""Laws of every Lipschitz method, on random nets of every layer kind."""

from __future__ import annotations

import contextlib
import itertools
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.execute import run
from robustcert.graph.extract import extract
from robustcert.graph.layers import LAYER_KINDS, Gather, LayerGraph, MaxPool
from robustcert.lipschitz.bracket import measure
from robustcert.lipschitz.interface import Problem
from robustcert.lipschitz.registry import EFFORTS, LOWER_METHODS, UPPER_METHODS
from robustcert.lipschitz.upper.pair_bounds import pair_bounds
from robustcert.lipschitz.upper.pair_search import searched_pair_bounds
from robustcert.models.torchscript import load_torchscript
from robustcert.results.bound import Scope
from robustcert.results.effort import Effort
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.threat_model import UNIT_BOX
from tests.models.nets import (
    IMAGE,
    IMAGE_NETS,
    TABLE,
    TABLE_NETS,
    scripted,
    settled,
    traced,
)
from tests.models.spline_nets import ZIGZAG
from tests.unit.lipschitz.graphs import Sketch, problem

ACTIVATIONS = (
    Activation(ActivationKind.RELU),
    Activation(ActivationKind.LEAKY_RELU, (0.1,)),
    Activation(ActivationKind.ELU, (1.0, 1.0, 1.0)),
    Activation(ActivationKind.SIGMOID),
    Activation(ActivationKind.TANH),
    Activation(ActivationKind.SOFTPLUS, (1.0,)),
    Activation(ActivationKind.SILU),
    Activation(ActivationKind.GELU),
    Activation(ActivationKind.GELU_TANH),
    Activation(ActivationKind.CLAMP, (-1.0, 1.0)),
    Activation(ActivationKind.HARDSIGMOID),
    Activation(ActivationKind.HARDSWISH),
    ZIGZAG,
)


def _residual(net: Sketch, activation: Activation, weight: float) -> None:
    here = len(net.layers) - 1
    net.random_conv(_channels(net), padding=1)
    net.add(here, net.act(activation), weight)


def _normalise(net: Sketch) -> None:
    shape = (_channels(net), 1, 1)
    net.affine(net.random(*shape), net.random(*shape))


def _join(net: Sketch) -> None:
    net.concat(len(net.layers) - 1, net.random_conv(1, size=1))


def _linear_skip(net: Sketch) -> None:
    here = len(net.layers) - 1
    net.add(here, net.random_conv(_channels(net), padding=1))


def _channels(net: Sketch) -> int:
    return net.layers[-1].shape[0]


STEPS = {
    "conv": lambda net, _: net.random_conv(3, padding=1),
    "strided": lambda net, _: net.random_conv(4, stride=2, padding=((1, 2), (0, 2))),
    "grouped": lambda net, _: net.random_conv(
        2 * _channels(net), groups=_channels(net), padding=2, dilation=2
    ),
    "activation": lambda net, activation: net.act(activation),
    "batch norm": lambda net, _: _normalise(net),
    "average": lambda net, _: net.average(2, 1, 1, count=False),
    "maximum": lambda net, _: net.maximum(kernel=2, stride=2, ceil=True),
    "overlapping": lambda net, _: net.maximum(kernel=3, stride=1, padding=1),
    "residual": lambda net, activation: _residual(net, activation, 1.0),
    "difference": lambda net, activation: _residual(net, activation, -1.0),
    "linear skip": lambda net, _: _linear_skip(net),
    "concatenation": lambda net, _: _join(net),
    "permutation": lambda net, _: net.permute(0, 2, 1),
    "zero padding": lambda net, _: net.zero_pad(1, 0, 0, 1),
    "slice": lambda net, _: net.zero_pad(0, 0, -1, 0),
    "repetition": lambda net, _: net.gather([[[0, 1, 0], [1, -1, 0], [2, 2, 0]]] * 2),
}
norms = st.sampled_from(THREAT_NORMS)
CHEAP = {
    name: UPPER_METHODS[name] for name in ("spectral_product", "liplt", "eclipse_fast")
}
EVERYWHERE = ("spectral_product", "liplt", "eclipse_fast", "lipsdp")
seeds = st.integers(0, 2**16)


@st.composite
def nets(draw) -> LayerGraph:
    """A small image net: any steps, then flattened or averaged, then linear."""
    net = Sketch(2, 6, 6, seed=draw(seeds))
    for step in draw(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=5)):
        STEPS[step](net, draw(st.sampled_from(ACTIVATIONS)))
    if draw(st.booleans()):
        net.mean(1, 2)
    else:
        net.flatten()
    net.linear(draw(st.integers(1, 4)))
    return net.graph()


def test_the_random_nets_hold_every_layer_kind():
    net = Sketch(2, 6, 6)
    for step in STEPS.values():
        step(net, ACTIVATIONS[0])
    net.mean(1, 2, keep=True)
    net.flatten()
    net.linear(2)
    assert {type(layer) for layer in net.layers} == set(LAYER_KINDS)


def test_every_effort_runs_both_sides_by_registered_names():
    assert not set(LOWER_METHODS) & set(UPPER_METHODS)
    for effort in Effort:
        names = set(EFFORTS[effort])
        assert names & set(LOWER_METHODS)
        assert names & set(UPPER_METHODS)
        assert names <= set(LOWER_METHODS) | set(UPPER_METHODS)


def always_bounded_by(graph: LayerGraph, norm: Norm) -> set[str]:
    """Upper methods that must not refuse the net.

    Where coordinates are repeated or padded in front of a pooling window, two of its
    entries may be equal for every input. Their difference is an exact 0, for which
    LipSDP's checker may find no proof: it may refuse such a net, by name.
    """
    if norm is not Norm.L2:
        return {"spectral_product"}
    kinds = [type(layer) for layer in graph.layers]
    moved = Gather in kinds and MaxPool in kinds[kinds.index(Gather) :]
    return set(CHEAP if moved else EVERYWHERE)


def given_by(methods, asked: Problem) -> dict:
    """The bounds of those methods that do not refuse the problem, by name."""
    bounds = {}
    for name, method in methods.items():
        with contextlib.suppress(UnsupportedLayerError):
            bounds[name] = method(asked, Effort.FAST)
    return bounds


@settings(max_examples=16)
@given(graph=nets(), norm=norms)
def test_no_lower_bound_exceeds_an_upper_bound(graph, norm):
    asked = problem(graph, norm, count=3)
    lowers = given_by(LOWER_METHODS, asked)
    uppers = given_by(UPPER_METHODS, asked)
    assert {"data_jacobian", "pair_ascent"} <= set(lowers)
    assert always_bounded_by(graph, norm) <= set(uppers)
    for lower, upper in itertools.product(lowers.values(), uppers.values()):
        if upper.scope.covers(lower.scope):
            assert lower.value <= upper.value
        assert math.isfinite(upper.value)


def test_equal_entries_of_a_pooling_window_leave_proved_bounds():
    net = Sketch(2, 6, 6)
    net.gather([[[0, 1, 0], [1, -1, 0], [2, 2, 0]]] * 2)
    net.maximum(ceil=True)
    net.flatten()
    net.linear(1)
    asked = problem(net.graph(), Norm.L2, count=3)
    lowers, uppers = given_by(LOWER_METHODS, asked), given_by(UPPER_METHODS, asked)
    assert set(CHEAP) <= set(uppers)
    least = min(upper.value for upper in uppers.values())
    assert 0.0 < max(lower.value for lower in lowers.values()) <= least < math.inf


@settings(max_examples=25)
@given(graph=nets(), norm=norms, distance=st.sampled_from([1e-3, 0.3, 10.0]))
def test_no_pair_of_logits_moves_apart_faster_than_its_bound(graph, norm, distance):
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(64, *graph.input_shape, generator=generator).double()
    second = first + distance * torch.randn(first.shape, generator=generator)
    moved = run(graph, first) - run(graph, second)
    if graph.outputs == 1:
        moved = torch.cat([torch.zeros_like(moved), moved], dim=1)
    apart = (first - second).flatten(1).norm(norm.value, dim=1)
    quotients = (moved[:, :, None] - moved[:, None, :]).abs() / apart[:, None, None]
    bounds = pair_bounds(graph, norm)
    tighter = searched_pair_bounds(graph, norm, 0.2)
    assert bool((quotients <= tighter * (1 + 1e-9) + 1e-9).all())
    assert bool((tighter <= bounds).all())
    assert torch.equal(bounds, bounds.T)
    assert torch.equal(tighter, tighter.T)


@settings(max_examples=30)
@given(graph=nets(), norm=norms)
def test_every_method_agrees_in_float32_and_float64_weights(graph, norm):
    rounded = graph.to(torch.float32)
    one = given_by(CHEAP, problem(rounded, norm))
    two = given_by(CHEAP, problem(rounded.to(torch.float64), norm))
    assert one == two  # the weights as shipped, whatever runs


@pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF])
@settings(max_examples=6)
@given(seed=seeds, factor=st.sampled_from([0.25, 2.0, 1024.0]))
def test_rescaling_neurons_never_brings_an_upper_bound_below_the_map(
    norm, seed, factor
):
    """``relu(c x) / c = relu(x)``: the map stays, bounds may only loosen or tighten."""
    net = Sketch(4, seed=seed)
    first, last = net.random(6, 4), net.random(3, 6)
    scales = torch.ones(6, dtype=torch.float64)
    scales[::2] = factor
    graphs = []
    for into, out in ((first, last), (first * scales[:, None], last / scales)):
        net = Sketch(4)
        net.linear(into)
        net.act()
        net.linear(out)
        graphs.append(net.graph())
    witnessed = max(
        method(problem(graph, norm), Effort.FAST).value
        for graph in graphs
        for method in LOWER_METHODS.values()
    )
    for graph in graphs:
        for bound in given_by(UPPER_METHODS, problem(graph, norm)).values():
            if bound.scope is Scope.GLOBAL:
                assert witnessed <= bound.value


@settings(max_examples=30)
@given(graph=nets(), norm=norms)
def test_an_activation_of_slope_one_behind_the_logits_never_raises_a_bound(graph, norm):
    net = Sketch(*graph.input_shape)
    net.layers = list(graph.layers)
    net.act()
    before = given_by(CHEAP, problem(graph, norm))
    after = given_by(CHEAP, problem(net.graph(), norm))
    assert set(before) == set(after)
    for name, bound in after.items():
        assert bound.value <= before[name].value * (1 + 1e-6)


@settings(max_examples=15)
@given(seed=seeds, factor=st.sampled_from([0.25, 3.0, 1e6]))
def test_lipsdp_takes_scales_of_neurons_for_nothing_and_of_logits_in_full(seed, factor):
    net = Sketch(4, seed=seed)
    first, last = net.random(6, 4), net.random(3, 6)
    scales = torch.ones(6, dtype=torch.float64)
    scales[::2] = factor
    one, two, three = (
        UPPER_METHODS["lipsdp"](problem(graph), Effort.TIGHT).value
        for graph in (
            _two_layers(first, last),
            _two_layers(first * scales[:, None], last / scales),
            _two_layers(first, last * factor),
        )
    )
    assert one == pytest.approx(two, rel=1e-4)
    assert one * factor == pytest.approx(three, rel=1e-4)


@settings(max_examples=15)
@given(graph=nets(), factor=st.sampled_from([0.5, 7.0, 1e-9]))
def test_scaling_the_last_layer_scales_every_cheap_upper_bound(graph, factor):
    *body, last = graph.layers
    scaled = LayerGraph((*body, replace(last, weight=last.weight * factor)))
    before = given_by(CHEAP, problem(graph))
    after = given_by(CHEAP, problem(scaled))
    assert set(before) == set(after) == set(CHEAP)
    for name, bound in after.items():
        assert bound.value == pytest.approx(before[name].value * factor, rel=1e-6)


@settings(max_examples=15)
@given(seed=seeds, widths=st.lists(st.integers(1, 8), min_size=2, max_size=4))
def test_lipsdp_is_no_looser_than_one_multiplier_a_layer_or_the_product(seed, widths):
    net = Sketch(5, seed=seed)
    for width in widths:
        net.linear(width)
        net.act()
    net.linear(3)
    values = {
        name: UPPER_METHODS[name](problem(net.graph()), Effort.TIGHT).value
        for name in ("lipsdp", "eclipse_fast", "spectral_product")
    }
    assert values["lipsdp"] <= values["eclipse_fast"] * (1 + 1e-6)
    assert values["eclipse_fast"] <= values["spectral_product"] * (1 + 1e-6)


@pytest.mark.parametrize("norm", THREAT_NORMS)
@pytest.mark.parametrize("front", ["scripted", "traced"])
@pytest.mark.parametrize("name", [*IMAGE_NETS, *TABLE_NETS])
def test_both_sides_enclose_the_constant_of_every_net_a_user_may_bring(
    name, front, norm
):
    shape = IMAGE if name in IMAGE_NETS else TABLE
    net = settled((IMAGE_NETS | TABLE_NETS)[name]())
    data = scripted(net) if front == "scripted" else traced(net, shape)
    model = load_torchscript(data, input_shape=shape)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(3, *shape, generator=generator)
    asked = Problem(extract(model), model.logits, inputs, UNIT_BOX, norm)
    bracket = measure(asked, Effort.FAST)
    assert bracket.lower is not None
    assert bracket.upper is not None
    assert 0.0 < bracket.lower.value <= bracket.upper.value < math.inf
    for lower, upper in itertools.product(bracket.lowers, bracket.uppers):
        assert lower.value <= upper.value


def _two_layers(first: torch.Tensor, last: torch.Tensor) -> LayerGraph:
    net = Sketch(first.shape[1])
    net.linear(first)
    net.act()
    net.linear(last)
    return net.graph()
