"""TRADES, on models whose predictions move by a known amount."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from robustcert.errors import UnsupportedLayerError, UsageError
from robustcert.results.norm import THREAT_NORMS
from robustcert.results.threat_model import Box
from robustcert.train.ascent_options import AscentOptions
from robustcert.train.interface import Batch, Moment, Plan, TrainingData
from robustcert.train.losses import CrossEntropy
from robustcert.train.trades import TradesOptions, divergences, trades_fit
from tests.unit.train.robust_cases import generator, plane_data, plane_net, seeded

NOW = Moment(epoch=0, step=4, steps=10)
WIDE = Box(-100.0, 100.0)


def linear_case():
    net = seeded(nn.Sequential(nn.Linear(6, 2)))
    inputs = torch.rand(12, 6, generator=generator(1), dtype=torch.float64)
    batch = Batch(inputs, torch.arange(12) % 2)
    return net, TrainingData(batch, batch, batch, WIDE, "linear")


def binary_divergence(first, second):
    """KL of two Bernoulli variables with logits ``first`` and ``second``."""
    p, q = first.sigmoid(), second.sigmoid()
    return p * (p / q).log() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).log()


def test_with_a_beta_of_0_trades_is_cross_entropy():
    net, data = plane_net(), plane_data()
    options = TradesOptions(0.0, AscentOptions(0.3))
    fitted = trades_fit(net, data, options, Plan())(net, data.training, NOW)
    plain = CrossEntropy()(net, data.training, NOW)
    torch.testing.assert_close(fitted.loss, plain.loss)
    ours = torch.autograd.grad(fitted.loss, list(net.parameters()))
    theirs = torch.autograd.grad(plain.loss, list(net.parameters()))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_predictions_of_a_linear_model_move_most_at_an_end_of_the_ball(norm):
    net, data = linear_case()
    batch, epsilon, beta = data.training, 0.5, 6.0
    options = TradesOptions(beta, AscentOptions(epsilon, norm.word, 20, 4.0))
    fitted = trades_fit(net, data, options, Plan())(net, batch, NOW)
    row = net[0].weight[1] - net[0].weight[0]
    length = torch.linalg.vector_norm(row, ord=norm.dual.value)
    logits = net(batch.inputs)
    gaps = logits[:, 1] - logits[:, 0]
    # The divergence rises to both sides, and the start decides which one is climbed.
    ends = [binary_divergence(gaps, gaps + side * epsilon * length) for side in (-1, 1)]
    plain = CrossEntropy()(net, batch, NOW).loss
    moved = (fitted.loss - plain) / beta
    assert torch.minimum(*ends).mean() <= moved + 1e-9
    assert moved <= torch.maximum(*ends).mean() + 1e-9


def test_on_a_single_example_one_of_the_two_ends_is_reached_exactly():
    net, data = linear_case()
    few = data.training.rows(slice(0, 1))
    options = TradesOptions(1.0, AscentOptions(0.5, "l2", 20, 4.0))
    fitted = trades_fit(net, data, options, Plan())(net, few, NOW)
    row = net[0].weight[1] - net[0].weight[0]
    logits = net(few.inputs)
    gaps = logits[:, 1] - logits[:, 0]
    moved = fitted.loss - CrossEntropy()(net, few, NOW).loss
    ends = [
        float(binary_divergence(gaps, gaps + side * 0.5 * row.norm()).sum().detach())
        for side in (-1, 1)
    ]
    assert min(abs(float(moved.detach()) - end) for end in ends) < 1e-6


def test_a_net_that_says_the_same_everywhere_pays_nothing_for_moving():
    net, data = plane_net(), plane_data()
    with torch.no_grad():
        net[-1].weight.zero_()
        net[-1].bias.zero_()
    fitted = trades_fit(net, data, TradesOptions(), Plan())(net, data.training, NOW)
    assert float(fitted.loss.detach()) == pytest.approx(math.log(2.0))


def test_the_divergence_of_two_classes_is_that_of_bernoulli_variables():
    a, b = torch.randn(2, 9, generator=generator(0), dtype=torch.float64)
    first = torch.stack([torch.zeros_like(a), a], dim=1)
    second = torch.stack([torch.ones_like(b), 1.0 + b], dim=1)
    torch.testing.assert_close(divergences(first, second), binary_divergence(a, b))
    assert (divergences(first, first) == 0.0).all()


def test_the_second_term_is_differentiated_on_both_sides():
    net, data = linear_case()
    # No step: x' is the start itself.
    options = TradesOptions(1.0, AscentOptions(0.5, "l2", 0))
    fit = trades_fit(net, data, options, Plan())
    weight = net[0].weight

    def moved():
        loss = fit(net, data.training, NOW).loss
        return loss - CrossEntropy()(net, data.training, NOW).loss

    (gradient,) = torch.autograd.grad(moved(), weight)
    step = 1e-4 * torch.randn(2, 6, generator=generator(1), dtype=torch.float64)
    with torch.no_grad():
        weight += step
        above = moved()
        weight -= 2.0 * step
        below = moved()
    torch.testing.assert_close(
        above - below, 2.0 * (gradient * step).sum(), rtol=1e-4, atol=1e-14
    )


@pytest.mark.parametrize("beta", [-1.0, float("nan")])
def test_a_beta_below_0_is_refused(beta):
    with pytest.raises(UsageError, match="beta"):
        trades_fit(plane_net(), plane_data(), TradesOptions(beta), Plan())


def test_batch_norm_is_refused_by_name():
    net = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    with pytest.raises(UnsupportedLayerError) as refusal:
        trades_fit(net, plane_data(), TradesOptions(), Plan())
    assert refusal.value.layer == "1"
