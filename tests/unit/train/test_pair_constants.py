"""Constants of differences of logits, against exact ones."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from torch import nn

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.layers import Add, Elementwise, Input, LayerGraph
from robustcert.lipschitz.upper.pair_bounds import pair_bounds
from robustcert.results.norm import Norm
from robustcert.train.chain import chain_of
from robustcert.train.live import live_graph
from robustcert.train.pair_constants import CONSTANTS, Rule, distances
from robustcert.train.singular import SingularVectors, iterated
from tests.unit.train.robust_cases import frozen_graph, generator, seeded


def converged(rule, net, shape, iterations=150):
    vectors = SingularVectors(generator(0))
    for _ in range(iterations):
        with torch.no_grad():
            CONSTANTS[rule](chain_of(live_graph(net, shape)), vectors)
    return CONSTANTS[rule](chain_of(live_graph(net, shape)), vectors)


def perceptron(activation=nn.ReLU):
    layers = [nn.Linear(6, 8), activation(), nn.Linear(8, 7), activation()]
    return seeded(nn.Sequential(*layers, nn.Linear(7, 4)))


def convolutional():
    layers = [nn.Conv2d(1, 3, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return seeded(nn.Sequential(*layers, nn.Flatten(), nn.Linear(12, 4)))


NETS = {
    "rectifiers": (perceptron(), (6,)),
    "sigmoid": (perceptron(nn.Sigmoid), (6,)),
    "convolutional": (convolutional(), (1, 8, 8)),
}


@cache
def known(name, rule):
    """Converged constants of one of the nets."""
    return converged(rule, *NETS[name]).detach()


@pytest.mark.parametrize("rule", Rule)
def test_constants_of_a_linear_net_are_the_distances_of_its_rows(rule):
    net = seeded(nn.Sequential(nn.Flatten(), nn.Linear(6, 4)))
    W = net[1].weight
    exact = (W[:, None] - W[None]).norm(dim=2)
    torch.testing.assert_close(converged(rule, net, (2, 3), 1), exact)


@pytest.mark.parametrize("name", NETS)
def test_the_product_is_the_proved_bound_that_multiplies_norms(name):
    net, shape = NETS[name]
    proved = pair_bounds(frozen_graph(net, shape), Norm.L2)
    found = known(name, Rule.PRODUCT)
    torch.testing.assert_close(found, proved, rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("name", NETS)
def test_liplt_is_never_above_the_product(name):
    tight, product = known(name, Rule.LIPLT), known(name, Rule.PRODUCT)
    assert (tight <= product * (1.0 + 1e-6)).all()


@pytest.mark.parametrize("rule", Rule)
@pytest.mark.parametrize("name", NETS)
def test_no_pair_of_inputs_moves_a_difference_faster_than_its_constant(name, rule):
    net, shape = NETS[name]
    g = generator(5)
    starts = torch.randn(500, *shape, generator=g, dtype=torch.float64)
    ends = starts + 0.01 * torch.randn(starts.shape, generator=g, dtype=torch.float64)
    with torch.no_grad():
        moved = net(ends) - net(starts)
    lengths = (ends - starts).flatten(1).norm(dim=1)[:, None, None]
    quotients = (moved[:, :, None] - moved[:, None]).abs() / lengths
    assert (quotients <= known(name, rule) * (1.0 + 1e-6)).all()


def test_layers_whose_directions_never_meet_cost_half_with_liplt():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 0.0]]))
        net[2].weight.copy_(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    # |A B| = 0 along the line; half of |A| |B| = 3 remains beside it.
    assert float(converged(Rule.LIPLT, net, (2,))[0, 1].detach()) == pytest.approx(1.5)
    whole = converged(Rule.PRODUCT, net, (2,))[0, 1]
    assert float(whole.detach()) == pytest.approx(3.0)


def test_a_sigmoid_counts_a_quarter():
    net = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid(), nn.Linear(1, 2)).double()
    with torch.no_grad():
        net[0].weight.fill_(2.0)
        net[2].weight.copy_(torch.tensor([[1.0], [-2.0]]))
    for rule in Rule:
        assert float(converged(rule, net, (1,))[0, 1].detach()) == pytest.approx(1.5)


def test_a_net_that_ends_in_an_activation_has_units_for_its_last_rows():
    net = seeded(nn.Sequential(nn.Linear(3, 4), nn.Sigmoid()))
    steepest = torch.linalg.matrix_norm(net[0].weight.detach(), 2)
    for rule in Rule:
        found = converged(rule, net, (3,), 400).detach()
        exact = math.sqrt(2.0) / 4.0 * steepest * (1.0 - torch.eye(4).double())
        assert (found <= exact * (1.0 + 1e-6)).all()
    torch.testing.assert_close(converged(Rule.PRODUCT, net, (3,), 400).detach(), exact)


def test_gradients_of_the_product_are_those_of_exact_singular_values():
    net, shape = NETS["rectifiers"]
    matrices = [layer.weight for layer in net if isinstance(layer, nn.Linear)]
    found = converged(Rule.PRODUCT, net, shape, 400).sum()
    exact = (
        torch.linalg.matrix_norm(matrices[0], 2)
        * torch.linalg.matrix_norm(matrices[1], 2)
        * (matrices[2][:, None] - matrices[2][None] + 1e-300).norm(dim=2).sum()
    )
    ours = torch.autograd.grad(found, matrices)
    theirs = torch.autograd.grad(exact, matrices)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-9)


def test_equal_rows_have_a_gradient_of_zero():
    rows = torch.ones(3, 4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(distances(rows).sum(), rows)
    assert (gradient == 0.0).all()


def test_a_net_of_zeros_has_constants_and_gradients_of_zero():
    net = perceptron()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    for rule in Rule:
        constants = converged(rule, net, (6,), 2)
        gradients = torch.autograd.grad(
            constants.sum(), list(net.parameters()), allow_unused=True
        )
        assert (constants == 0.0).all()
        assert all((g == 0.0).all() for g in gradients if g is not None)


def test_power_iteration_ends_at_the_first_singular_vectors():
    A = torch.diag(torch.tensor([1.0, 3.0, 2.0], dtype=torch.float64))
    vector = torch.full((1, 3), 1.0 / math.sqrt(3.0), dtype=torch.float64)
    for _ in range(60):
        left, vector = iterated(lambda x: x @ A.T, vector)
    torch.testing.assert_close(vector, torch.tensor([[0.0, 1.0, 0.0]]).double())
    torch.testing.assert_close(left, vector)


@pytest.mark.parametrize("rule", Rule)
def test_vectors_that_were_restored_give_the_same_constants(rule):
    net, shape = NETS["convolutional"]
    chain = chain_of(live_graph(net, shape))
    first = SingularVectors(generator(0))
    CONSTANTS[rule](chain, first)
    second = SingularVectors(generator(9))
    second.restore(first.state())
    assert torch.equal(CONSTANTS[rule](chain, first), CONSTANTS[rule](chain, second))


def test_a_sum_of_two_layers_is_no_chain():
    start = Input("input", (), (2,))
    first = Elementwise("relu", (0,), (2,), Activation(ActivationKind.RELU))
    both = Add("sum", (0, 1), (2,), 1.0)
    with pytest.raises(UnsupportedLayerError) as refusal:
        chain_of(LayerGraph((start, first, both)))
    assert refusal.value.layer == "sum"
