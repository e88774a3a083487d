"""Adversarial training, on models whose worst inputs are known."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robustcert.errors import (
    InvalidThreatModelError,
    SamplesError,
    UnknownNameError,
    UnsupportedLayerError,
    UsageError,
)
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.threat_model import UNIT_BOX, Box, ThreatModel
from robustcert.tensors import lp_norms
from robustcert.train.adversarial import adversarial_fit
from robustcert.train.ascent import Climb, anywhere
from robustcert.train.ascent_options import AscentOptions
from robustcert.train.interface import Batch, Moment, Plan, TrainingData
from robustcert.train.losses import CrossEntropy
from tests.unit.train.robust_cases import (
    PLANE,
    certified_share,
    generator,
    plane_data,
    plane_net,
    seeded,
    trained,
)

WIDE = Box(-100.0, 100.0)
NOW = Moment(epoch=0, step=4, steps=10)


def linear_case(box=WIDE):
    net = seeded(nn.Sequential(nn.Flatten(), nn.Linear(6, 2)))
    inputs = torch.rand(12, 2, 3, generator=generator(1), dtype=torch.float64)
    batch = Batch(inputs, torch.arange(12) % 2)
    return net, TrainingData(batch, batch, batch, box, "linear")


@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_the_loss_of_a_linear_model_is_that_of_its_exact_worst_inputs(norm):
    net, data = linear_case()
    batch, epsilon = data.training, 0.5
    options = AscentOptions(epsilon, norm.word, 30, 30.0)
    fitted = adversarial_fit(net, data, options, Plan())(net, batch, NOW)
    row = net[1].weight[1] - net[1].weight[0]
    length = torch.linalg.vector_norm(row, ord=norm.dual.value)
    logits = net(batch.inputs)
    side = 2.0 * batch.targets - 1.0
    margins = side * (logits[:, 1] - logits[:, 0])
    exact = F.softplus(-(margins - epsilon * length)).mean()
    torch.testing.assert_close(fitted.loss, exact)
    torch.testing.assert_close(fitted.outputs, logits)


@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_the_worst_inputs_lie_in_the_ball_and_in_the_box(norm):
    net, data = linear_case(UNIT_BOX)
    threat = ThreatModel(norm, 0.4, UNIT_BOX)
    inputs, labels = data.training.inputs, data.training.targets
    starts = anywhere(inputs, threat, generator(0))
    worst = Climb(threat, 9, 2.5)(
        net,
        inputs,
        starts,
        lambda logits: F.cross_entropy(logits, labels, reduction="none"),
    )
    distances = lp_norms(worst - inputs, norm)
    assert (distances <= 0.4 + 1e-12).all()
    assert (distances > 0.2).any()
    assert worst.min() >= 0.0
    assert worst.max() <= 1.0


def test_in_the_box_the_worst_input_of_a_linear_model_is_a_corner():
    net, data = linear_case(UNIT_BOX)
    batch = data.training
    options = AscentOptions(10.0, "linf", 3, 4.0)
    fitted = adversarial_fit(net, data, options, Plan())(net, batch, NOW)
    row = (net[1].weight[1] - net[1].weight[0]).reshape(2, 3)
    side = (2.0 * batch.targets - 1.0).reshape(-1, 1, 1)
    corners = ((side * row) < 0.0).double()
    exact = F.cross_entropy(net(corners), batch.targets)
    torch.testing.assert_close(fitted.loss, exact)


def test_an_epsilon_of_0_is_plain_cross_entropy():
    net, data = linear_case()
    options = AscentOptions(0.0)
    fitted = adversarial_fit(net, data, options, Plan())(net, data.training, NOW)
    plain = CrossEntropy()(net, data.training, NOW)
    torch.testing.assert_close(fitted.loss, plain.loss)


@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_random_starts_fill_the_ball_from_a_generator_alone(norm):
    inputs = torch.zeros(2000, 3)
    before = torch.random.get_rng_state()
    threat = ThreatModel(norm, 0.5, WIDE)
    starts = anywhere(inputs, threat, generator(7))
    sizes = lp_norms(starts, norm)
    assert sizes.max() <= 0.5 + 1e-6
    assert sizes.max() > 0.45
    assert starts.mean(dim=0).abs().max() < 0.03
    assert torch.equal(starts, anywhere(inputs, threat, generator(7)))
    assert torch.equal(before, torch.random.get_rng_state())


def test_starts_depend_on_seed_and_step_alone():
    net, data = plane_net(), plane_data()
    options = AscentOptions(0.2, "l2", 1, 0.1)

    def loss(seed, step):
        fit = adversarial_fit(net, data, options, Plan(seed=seed))
        return float(fit(net, data.training, Moment(0, step, 9)).loss.detach())

    assert loss(1, 5) == loss(1, 5)
    assert loss(1, 5) != loss(1, 6)
    assert loss(1, 5) != loss(2, 5)


def test_the_ascent_leaves_the_parameters_gradients_alone():
    net, data = linear_case()
    adversarial_fit(net, data, AscentOptions(), Plan())(net, data.training, NOW)
    assert all(parameter.grad is None for parameter in net.parameters())


def test_the_loss_is_differentiated_at_the_worst_inputs():
    net, data = linear_case()
    options = AscentOptions(0.5, "linf", 20, 4.0)
    fit = adversarial_fit(net, data, options, Plan())
    gradient = torch.autograd.grad(fit(net, data.training, NOW).loss, [net[1].weight])[
        0
    ]
    row = net[1].weight[1] - net[1].weight[0]
    side = (2.0 * data.training.targets - 1.0)[:, None]
    worst = data.training.inputs.flatten(1) - 0.5 * side * row.sign()
    exact = F.cross_entropy(
        F.linear(worst.detach(), net[1].weight, net[1].bias), data.training.targets
    )
    torch.testing.assert_close(gradient, torch.autograd.grad(exact, [net[1].weight])[0])


def test_adversarial_training_raises_certified_accuracy_above_that_of_plain_training():
    data, epsilon = plane_data(), 0.28
    options = AscentOptions(epsilon, "linf", 5)
    fit = adversarial_fit(plane_net(), data, options, Plan())
    plain = trained(plane_net(), CrossEntropy(), data)
    robust = trained(plane_net(), fit, data)
    share = [
        certified_share(net, data, "crown", Norm.LINF, epsilon)
        for net in (plain, robust)
    ]
    assert share[1] > share[0] + 0.01


@pytest.mark.parametrize("module", [nn.BatchNorm1d(4), nn.Dropout()])
def test_layers_that_do_not_hold_still_are_refused_by_name(module):
    net = nn.Sequential(nn.Linear(2, 4), module, nn.Linear(4, 2))
    with pytest.raises(UnsupportedLayerError) as refusal:
        adversarial_fit(net, plane_data(), AscentOptions(), Plan())
    assert refusal.value.layer == "1"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (AscentOptions(epsilon=-1.0), InvalidThreatModelError),
        (AscentOptions(norm="l1"), UnknownNameError),
        (AscentOptions(steps=-1), UsageError),
        (AscentOptions(reach=0.0), UsageError),
        (AscentOptions(reach=float("nan")), UsageError),
    ],
)
def test_options_without_a_meaning_are_refused(options, error):
    with pytest.raises(error):
        adversarial_fit(plane_net(), plane_data(), options, Plan())


def test_values_to_regress_on_are_refused():
    few = Batch(torch.zeros(2, 2), torch.zeros(2, 1))
    data = TrainingData(few, few, few, PLANE, "values")
    with pytest.raises(SamplesError):
        adversarial_fit(plane_net(), data, AscentOptions(), Plan())
