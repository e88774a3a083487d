"""The loop of every trainer."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from robustcert.errors import UnknownNameError, UnsoundModelError, UsageError
from robustcert.train.feed import Extra
from robustcert.train.interface import Batch, Fitted, Plan, Trainer, drawn_from
from robustcert.train.loop import train
from robustcert.train.losses import CrossEntropy, MeanSquared
from robustcert.train.nets import dense
from robustcert.train.selection import validation
from robustcert.train.weight_penalty import SquaredWeights
from robustcert.train.weights import Fixed
from tests.unit.train.problems import affine, bits, regression, small_net, two_clouds

DESCENT = Plan(epochs=400, batch=64, rate=0.05, optimiser="sgd", schedule="step")
STILL = Plan(epochs=1, batch=7, rate=1e-30, optimiser="sgd")
ERM = Trainer(CrossEntropy(), None, Fixed(0.0))


class Watched:
    """A penalty on the first weights that notes what happens around it."""

    def __init__(self):
        self.events = []

    def value(self, model, moment):  # noqa: ARG002 - the protocol's
        self.events.append("value")
        return next(model.parameters()).square().sum()

    def after_backward(self, model, weight):
        first = next(model.parameters())
        self.events.append((weight, first.detach().clone(), first.grad.clone()))

    def state(self):
        return {}

    def restore(self, state):
        """Nothing is kept."""


class Recorded:
    """Cross-entropy that notes the inputs it was given."""

    def __init__(self):
        self.seen = []

    def __call__(self, model, batch, moment):
        self.seen.append((moment, batch.inputs.clone()))
        return CrossEntropy()(model, batch, moment)


def with_ones(data):
    x = data.training.inputs.double()
    return torch.cat([x, torch.ones(len(x), 1).double()], dim=1)


def test_a_linear_model_trains_to_the_least_squares_solution():
    data = regression()
    trained = train(affine(), data, Trainer(MeanSquared(), None, Fixed(0.0)), DESCENT)
    wanted = torch.linalg.lstsq(with_ones(data), data.training.targets.double())
    layer = trained.model[0]
    found = torch.cat([layer.weight[0], layer.bias]).double()
    assert torch.allclose(found, wanted.solution[:, 0], atol=1e-4)


def test_squared_weights_train_to_the_ridge_solution():
    data, strength = regression(), 0.3
    trainer = Trainer(MeanSquared(), SquaredWeights(), Fixed(strength))
    trained = train(affine(), data, trainer, DESCENT)
    x, y = with_ones(data), data.training.targets.double()
    ridge = strength * len(x) * torch.diag(torch.tensor([1.0, 1.0, 1.0, 0.0])).double()
    wanted = torch.linalg.solve(x.T @ x + ridge, x.T @ y)[:, 0]
    layer = trained.model[0]
    found = torch.cat([layer.weight[0], layer.bias]).double()
    assert torch.allclose(found, wanted, atol=1e-4)
    last = trained.epochs[-1]
    assert last.penalty == pytest.approx(float(wanted[:3].square().sum()), rel=1e-3)
    assert last.weight == strength


def test_a_weight_of_zero_leaves_the_penalty_out_and_lets_it_climb():
    penalty, data = Watched(), two_clouds()
    plan = Plan(epochs=2, batch=24, rate=0.1)
    penalised = train(
        small_net(), data, Trainer(CrossEntropy(), penalty, Fixed(0.0)), plan
    )
    assert [event[0] for event in penalty.events] == [0.0] * 2 * 3
    assert math.isnan(penalised.epochs[-1].penalty)
    assert bits(penalised.model) == bits(train(small_net(), data, ERM, plan).model)


def test_the_penalty_sees_one_gradient_of_the_sum_before_the_parameters_move():
    penalty, data, weight = Watched(), two_clouds(), 0.7
    net = small_net()
    plan = Plan(epochs=1, batch=len(data.training), rate=0.1)
    train(net, data, Trainer(CrossEntropy(), penalty, Fixed(weight)), plan)
    assert len(penalty.events) == 2
    assert penalty.events[0] == "value"
    told, first, gradient = penalty.events[1]
    fresh = small_net()
    fit = nn.functional.cross_entropy(
        fresh(data.training.inputs), data.training.targets
    )
    parameter = next(fresh.parameters())
    (fit + weight * parameter.square().sum()).backward()
    assert told == weight
    assert torch.equal(first, parameter)
    assert torch.allclose(gradient, parameter.grad, atol=1e-6)


def test_every_training_example_is_seen_once_an_epoch_in_another_order():
    fit, data = Recorded(), two_clouds()
    train(small_net(), data, Trainer(fit, None, Fixed(0.0)), replace(STILL, epochs=2))
    epochs = [
        torch.cat([inputs for moment, inputs in fit.seen if moment.epoch == number])
        for number in (0, 1)
    ]
    assert not torch.equal(*epochs)
    for epoch in epochs:
        assert torch.equal(epoch.msort(), data.training.inputs.msort())
    moments = [moment for moment, _ in fit.seen]
    assert [moment.step for moment in moments] == list(range(len(moments)))
    assert {moment.steps for moment in moments} == {len(moments)}


def test_the_record_says_what_the_model_does_where_nothing_moves():
    net, data = small_net(), two_clouds()
    with torch.no_grad():
        outputs = net(data.training.inputs)
        held = net(data.validation.inputs)
    loss = nn.functional.cross_entropy(outputs, data.training.targets)
    right = (outputs.argmax(1) == data.training.targets).float().mean()
    (epoch,) = train(net, data, ERM, STILL).epochs
    assert epoch.loss == pytest.approx(float(loss), rel=1e-5)
    assert epoch.accuracy == pytest.approx(float(right))
    judged = (held.argmax(1) == data.validation.targets).float().mean()
    assert epoch.validation == pytest.approx(float(judged))


def test_a_regression_has_no_accuracy_and_is_judged_by_its_error():
    data = regression()
    data = replace(data, validation=data.training)
    trainer = Trainer(MeanSquared(), None, Fixed(0.0))
    (epoch,) = train(affine(), data, trainer, STILL).epochs
    assert math.isnan(epoch.accuracy)
    assert epoch.validation == pytest.approx(-epoch.loss, rel=1e-5)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    data, plan = two_clouds(), Plan(epochs=2, batch=16)
    first, again, other = (
        train(small_net(), data, ERM, replace(plan, seed=seed)) for seed in (5, 5, 6)
    )
    assert bits(first.model) == bits(again.model)
    assert bits(first.model) != bits(other.model)


def test_a_model_with_dropout_is_repeatable_and_global_generators_stay():
    def net():
        first, last = (dense(2, 8, drawn_from(0)), dense(8, 2, drawn_from(1)))
        return nn.Sequential(first, nn.Dropout(0.5), last)

    legacy = np.random.get_state()[1].copy()  # noqa: NPY002 - the one that is global
    before = (torch.get_rng_state(), legacy, random.getstate())
    first = train(net(), two_clouds(), ERM, Plan(epochs=2))
    torch.rand(3)
    again = train(net(), two_clouds(), ERM, Plan(epochs=2))
    torch.set_rng_state(before[0])
    train(net(), two_clouds(), ERM, Plan(epochs=1))
    assert bits(first.model) == bits(again.model)
    assert torch.equal(torch.get_rng_state(), before[0])
    after = np.random.get_state()[1]  # noqa: NPY002 - the one that is global
    assert np.array_equal(after, before[1])
    assert random.getstate() == before[2]


def test_the_selected_epoch_comes_back_as_it_was_then():
    data, plan = two_clouds(), Plan(epochs=4, batch=16, rate=0.05)

    def second(candidate):
        return -abs(candidate.epoch.number - 1.0)

    chosen = train(small_net(), data, ERM, plan, selection=second)
    short = train(small_net(), data, ERM, replace(plan, epochs=2))
    assert chosen.best == 1
    assert len(chosen.epochs) == 4
    assert bits(chosen.model) == bits(short.model)
    assert not chosen.model.training


def test_the_latest_epoch_comes_back_unless_another_selection_is_asked_for():
    data, plan = two_clouds(), Plan(epochs=3)
    assert train(small_net(), data, ERM, plan).best == 2
    judged = train(small_net(), data, ERM, plan, selection=validation)
    scores = [epoch.validation for epoch in judged.epochs]
    assert scores[judged.best] == max(scores)


def test_a_listener_is_told_from_the_first_step_to_the_last():
    heard = []
    plan = Plan(epochs=2, batch=24)
    train(small_net(), two_clouds(), ERM, plan, listener=heard.append)
    assert (heard[0].done, heard[-1].done) == (0, heard[-1].total)
    assert [each.done for each in heard] == sorted(each.done for each in heard)
    assert "epoch 2" in heard[-1].note


def test_a_float64_model_is_trained_in_float64():
    net = small_net().double()
    train(net, two_clouds(), ERM, Plan(epochs=1))
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float64}


def test_extra_examples_fill_their_share_of_each_batch():
    data, fit = two_clouds(), Recorded()
    more = Batch(torch.full((5, 2), 0.5), torch.zeros(5, dtype=torch.long))
    trainer = Trainer(fit, None, Fixed(0.0))
    plan = replace(STILL, batch=24)
    train(small_net(), data, trainer, plan, extra=Extra(more, 0.25))
    for _, inputs in fit.seen:
        drawn = (inputs == 0.5).all(1).sum()
        assert (len(inputs), int(drawn)) == (24, 6)
    assert len(fit.seen) * 18 == len(data.training)


def test_a_training_that_diverges_is_no_result():
    plan = Plan(epochs=60, batch=64, rate=50.0, optimiser="sgd")
    with pytest.raises(UnsoundModelError, match="diverged"):
        train(affine(), regression(), Trainer(MeanSquared(), None, Fixed(0.0)), plan)


def test_a_loss_that_is_not_a_number_is_found_out():
    def broken(model, batch, moment):
        outputs = model(batch.inputs)
        return Fitted(outputs.sum() * math.nan, outputs)

    with pytest.raises(UnsoundModelError):
        train(
            small_net(), two_clouds(), Trainer(broken, None, Fixed(0.0)), Plan(epochs=1)
        )


@pytest.mark.parametrize(
    "change",
    [{"epochs": 0}, {"batch": 0}, {"seed": -1}, {"rate": 0.0}, {"rate": math.nan}],
)
def test_a_plan_that_cannot_be_followed_is_refused(change):
    with pytest.raises(UsageError):
        train(small_net(), two_clouds(), ERM, replace(Plan(), **change))


@pytest.mark.parametrize("change", [{"optimiser": "best"}, {"schedule": "best"}])
def test_unknown_optimisers_and_schedules_are_refused(change):
    with pytest.raises(UnknownNameError, match="'best'"):
        train(small_net(), two_clouds(), ERM, replace(Plan(), **change))


def test_a_model_without_trainable_parameters_is_refused():
    with pytest.raises(UsageError, match="no parameters"):
        train(small_net().requires_grad_(False), two_clouds(), ERM, Plan())
