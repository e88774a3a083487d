"""Training for margins, on nets where the worst perturbation is known."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robustcert.errors import (
    InvalidThreatModelError,
    SamplesError,
    UnsupportedLayerError,
    UsageError,
)
from robustcert.results.norm import Norm
from robustcert.train.interface import Batch, Moment, Plan, TrainingData
from robustcert.train.losses import CrossEntropy
from robustcert.train.margin import MarginOptions, margin_fit, raised
from robustcert.train.pair_constants import Rule, distances
from robustcert.train.ramp import Ramp
from tests.unit.train.robust_cases import (
    PLANE,
    certified_share,
    generator,
    plane_data,
    plane_net,
    seeded,
    trained,
)

EPSILON = 0.25
LATE = Moment(epoch=3, step=99, steps=100)


def linear_case():
    net = seeded(nn.Sequential(nn.Linear(2, 4)))
    inputs = torch.randn(16, 2, generator=generator(2), dtype=torch.float64)
    return net, inputs, torch.arange(16) % 4


def test_raised_rivals_of_a_linear_net_are_what_the_worst_perturbation_gives_them():
    net, inputs, labels = linear_case()
    W = net[0].weight
    logits = raised(net(inputs), labels, distances(W), EPSILON)
    for rival in range(4):
        rows = W[rival] - W[labels]
        units = rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-300)
        worst = net(inputs + EPSILON * units)
        gained = worst[:, rival] - worst.gather(1, labels[:, None])[:, 0]
        found = logits[:, rival] - logits.gather(1, labels[:, None])[:, 0]
        torch.testing.assert_close(found, gained)


@pytest.mark.parametrize("rule", Rule)
def test_the_loss_of_a_linear_net_is_cross_entropy_of_exactly_raised_logits(rule):
    net, inputs, labels = linear_case()
    data = plane_data()
    options = MarginOptions(EPSILON, 0.5, rule)
    fitted = margin_fit(net, data, options, Plan())(net, Batch(inputs, labels), LATE)
    W = net[0].weight
    gained = EPSILON * (W[labels][:, None] - W[None]).norm(dim=2)
    torch.testing.assert_close(fitted.outputs, net(inputs))
    torch.testing.assert_close(
        fitted.loss, F.cross_entropy(net(inputs) + gained, labels)
    )


def test_the_first_step_is_plain_cross_entropy():
    net, data = plane_net(), plane_data()
    begin = Moment(0, 0, 100)
    fitted = margin_fit(net, data, MarginOptions(), Plan())(net, data.training, begin)
    plain = CrossEntropy()(net, data.training, begin)
    torch.testing.assert_close(fitted.loss, plain.loss)


def test_a_ramp_is_straight_and_then_flat():
    ramp = Ramp(1.0, 3.0, 0.5)
    at = [ramp.at(Moment(0, step, 8)) for step in range(8)]
    assert at == [1.0, 1.5, 2.0, 2.5, 3.0, 3.0, 3.0, 3.0]
    assert Ramp(1.0, 3.0, 0.0).at(Moment(0, 0, 8)) == 3.0


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_ramp_over_no_share_of_the_training_is_refused(share):
    with pytest.raises(UsageError, match="ramp"):
        Ramp(0.0, 1.0, share)


@pytest.mark.parametrize("rule", Rule)
def test_margin_training_raises_certified_accuracy_above_that_of_plain_training(rule):
    data, epsilon = plane_data(), 0.28
    fit = margin_fit(plane_net(), data, MarginOptions(epsilon, 0.5, rule), Plan())
    plain = trained(plane_net(), CrossEntropy(), data)
    robust = trained(plane_net(), fit, data)
    share = [
        certified_share(net, data, "lipschitz-margin", Norm.L2, epsilon)
        for net in (plain, robust)
    ]
    assert share[1] > share[0] + 0.1
    assert share[1] > 0.9


def test_a_fit_that_was_restored_goes_on_with_the_same_losses():
    data = plane_data()
    first = margin_fit(plane_net(), data, MarginOptions(), Plan(seed=1))
    second = margin_fit(plane_net(), data, MarginOptions(), Plan(seed=2))
    net = trained(plane_net(), first, data, 3)
    second.restore(first.state())
    ours, theirs = (fit(net, data.training, LATE).loss for fit in (first, second))
    assert torch.equal(ours, theirs)


def test_values_to_regress_on_have_no_margin():
    few = Batch(torch.zeros(2, 2), torch.zeros(2, 1))
    data = TrainingData(few, few, few, PLANE, "values")
    with pytest.raises(SamplesError, match="values"):
        margin_fit(plane_net(), data, MarginOptions(), Plan())


def test_batch_norm_is_refused_by_name_before_the_first_step():
    net = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    with pytest.raises(UnsupportedLayerError) as refusal:
        margin_fit(net, plane_data(), MarginOptions(), Plan())
    assert refusal.value.layer == "1"


@pytest.mark.parametrize("epsilon", [-0.1, float("nan"), float("inf")])
def test_an_epsilon_that_is_no_radius_is_refused(epsilon):
    with pytest.raises(InvalidThreatModelError):
        margin_fit(plane_net(), plane_data(), MarginOptions(epsilon), Plan())
