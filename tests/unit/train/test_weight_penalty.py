"""Penalties on the weights alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robustcert.train.interface import Moment, drawn_from
from robustcert.train.nets import convolution, dense
from robustcert.train.singular import SingularVectors
from robustcert.train.weight_penalty import SpectralProduct, SquaredWeights

NOW = Moment(0, 0, 1)


def settled(penalty, net, rounds=60):
    """The value once power iteration has come close."""
    with torch.no_grad():
        for _ in range(rounds):
            penalty.value(net, NOW)
    return penalty.value(net, NOW)


def product(shape):
    return SpectralProduct(shape, SingularVectors(drawn_from(0, 5)))


def two_layers():
    first, last = dense(4, 6, drawn_from(1)), dense(6, 3, drawn_from(2))
    return nn.Sequential(first, nn.ReLU(), last).double()


def test_squared_weights_are_the_frobenius_norms_without_biases():
    net = two_layers()
    wanted = sum(float(net[i].weight.detach().norm()) ** 2 for i in (0, 2))
    value = SquaredWeights().value(net, NOW)
    value.backward()
    assert value.item() == pytest.approx(wanted)
    assert torch.allclose(net[0].weight.grad, 2.0 * net[0].weight)
    assert net[0].bias.grad is None


def test_the_spectral_product_is_that_of_the_largest_singular_values():
    net = two_layers()
    norms = [torch.linalg.matrix_norm(net[i].weight, 2).item() for i in (0, 2)]
    value = settled(product((4,)), net)
    assert value.item() == pytest.approx((norms[0] * norms[1]) ** 2, rel=1e-6)


def test_the_slope_of_a_sigmoid_counts_in_the_product():
    first, last = dense(4, 6, drawn_from(1)), dense(6, 3, drawn_from(2))
    net = nn.Sequential(first, nn.Sigmoid(), last).double()
    bare = settled(product((4,)), two_layers()).item()
    assert settled(product((4,)), net).item() == pytest.approx(bare / 16.0, rel=1e-6)


def test_a_convolution_counts_as_the_map_of_images_that_it_is():
    conv = convolution(1, 2, 3, drawn_from(3), stride=1, padding=1).double()
    basis = torch.eye(25).double().reshape(25, 1, 5, 5)
    matrix = (conv(basis) - conv(torch.zeros_like(basis))).reshape(25, -1)
    wanted = torch.linalg.matrix_norm(matrix, 2).item() ** 2
    value = settled(product((1, 5, 5)), conv, rounds=300)
    assert value.item() == pytest.approx(wanted, rel=1e-3)
    assert value.item() <= wanted * (1.0 + 1e-9)
    kernel = torch.linalg.matrix_norm(conv.weight.reshape(2, 9), 2).item() ** 2
    assert abs(kernel - wanted) > 0.01 * wanted


def test_the_gradient_of_the_spectral_product_is_that_of_the_norms():
    net = two_layers()
    settled(product((4,)), net).backward()
    fresh = two_layers()
    norms = [torch.linalg.matrix_norm(fresh[i].weight, 2) for i in (0, 2)]
    (norms[0] * norms[1]).square().backward()
    for i in (0, 2):
        assert torch.allclose(net[i].weight.grad, fresh[i].weight.grad, atol=1e-5)


def test_a_layer_of_zeros_has_no_norm_and_no_gradient_that_is_not_a_number():
    net = two_layers()
    nn.init.zeros_(net[0].weight)
    value = settled(product((4,)), net)
    value.backward()
    assert value.item() == 0.0
    assert all(bool(p.grad.isfinite().all()) for p in (net[0].weight, net[2].weight))


def test_the_vectors_go_on_where_they_stood():
    net, penalty, other = two_layers(), product((4,)), product((4,))
    penalty.value(net, NOW)
    other.restore(penalty.state())
    assert other.value(net, NOW).item() == penalty.value(net, NOW).item()
