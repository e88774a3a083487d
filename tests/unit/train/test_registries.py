"""Trainers, selections, optimisers and schedules by name; options from words."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, fields, is_dataclass, replace

import pytest
import torch

from robustcert.errors import UnknownNameError, UsageError
from robustcert.train.interface import Batch, Epoch, Moment, Observed, Plan
from robustcert.train.loop import train
from robustcert.train.losses import CrossEntropy, MeanSquared, plain_fit
from robustcert.train.names import SUMMARIES
from robustcert.train.optimisers import OPTIMISERS, SCHEDULES, optimiser_named
from robustcert.train.options import options_from_words, options_in_words
from robustcert.train.registry import TRAINERS, trainer_named
from robustcert.train.selection import (
    SELECTIONS,
    Candidate,
    better,
    latest,
    objective,
    selection_named,
    validation,
    validation_score,
)
from robustcert.train.weight_options import WeightOptions, weight_of
from tests.unit.train.problems import bits, regression, small_net, two_clouds

NOW = Moment(0, 0, 1)


class Colour(enum.StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    size_: int = 3
    bound: float | None = None


@dataclass(frozen=True)
class Outer:
    inner: Inner = Inner(size_=5)
    rate: float = 0.5
    colour: Colour = Colour.RED
    loud: bool = False


def test_the_torch_free_names_are_those_of_the_registry():
    assert list(SUMMARIES) == list(TRAINERS)


def leaves(options):
    for field in fields(options):
        value = getattr(options, field.name)
        yield from leaves(value) if is_dataclass(value) else [field.name]


@pytest.mark.parametrize("name", TRAINERS)
def test_no_two_options_of_a_trainer_share_a_name(name):
    names = [*leaves(TRAINERS[name].options())]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", TRAINERS)
def test_each_trainer_names_a_selection(name):
    assert TRAINERS[name].selection in SELECTIONS


@pytest.mark.parametrize("name", TRAINERS)
def test_each_trainer_repeats_itself_and_leaves_global_generators_alone(name):
    data, plan, row = two_clouds(), Plan(epochs=2, batch=16), TRAINERS[name]
    before = torch.get_rng_state()
    models = []
    for _ in range(2):
        net = small_net()
        trainer = row.prepare(net, data, row.options(), plan)
        models.append(train(net, data, trainer, plan).model)
    assert torch.equal(torch.get_rng_state(), before)
    assert bits(models[0]) == bits(models[1])


@pytest.mark.parametrize("name", TRAINERS)
def test_each_trainer_learns_two_clouds(name):
    data, plan, row = two_clouds(), Plan(epochs=40, batch=16, rate=0.02), TRAINERS[name]
    words = ["epsilon=.02"] if "epsilon" in options_in_words(row.options()) else []
    net = small_net("mlp:16")
    trainer = row.prepare(net, data, options_from_words(row.options, words), plan)
    trained = train(net, data, trainer, plan)
    assert trained.epochs[-1].accuracy > 0.85


@pytest.mark.parametrize(
    "find", [trainer_named, selection_named, lambda n: optimiser_named(n, [], 1.0)]
)
def test_an_unknown_name_is_refused_with_the_names_there_are(find):
    with pytest.raises(UnknownNameError, match="there are"):
        find("best")


def test_words_set_options_of_a_row_and_of_its_groups():
    found = options_from_words(
        Outer, ["size=7", "rate = 1e-3", "colour=red", "loud=true", "bound=2"]
    )
    assert found == Outer(Inner(7, 2.0), 1e-3, Colour.RED, loud=True)
    assert options_in_words(found) == {
        "size": 7,
        "bound": 2.0,
        "rate": 1e-3,
        "colour": "red",
        "loud": True,
    }


def test_what_no_word_sets_keeps_the_default_of_the_row():
    assert options_from_words(Outer, ["bound=none"]) == Outer()


@pytest.mark.parametrize("word", ["breadth=3", "size", "inner=3", ""])
def test_a_word_that_sets_no_option_is_refused_with_the_options_there_are(word):
    with pytest.raises(UnknownNameError, match="size, bound, rate"):
        options_from_words(Outer, [word])


@pytest.mark.parametrize(
    "word", ["size=2.5", "rate=fast", "colour=blue", "loud=perhaps", "bound=x"]
)
def test_a_value_of_another_type_is_refused(word):
    with pytest.raises(UsageError, match=f"the option {word.partition('=')[0]} is"):
        options_from_words(Outer, [word])


def test_a_weight_follows_a_target_or_a_limit_but_not_both():
    assert weight_of(WeightOptions(lambda_=0.2)).value == 0.2
    assert weight_of(WeightOptions(lambda_=0.2, target=0.9, warm_up=1)).value == 0.0
    assert weight_of(WeightOptions(lambda_=0.2, limit=1.0)).value == 0.2
    with pytest.raises(UsageError, match="cannot follow"):
        WeightOptions(target=0.9, limit=1.0)
    with pytest.raises(UsageError, match="cannot start"):
        WeightOptions(lambda_=0.0, limit=1.0)


def moved_by(options: WeightOptions, observed: Observed) -> list[float]:
    """The weight at first, after a step, and after the epoch."""
    weight = weight_of(options)
    found = [weight.value]
    for told in (weight.after_step, weight.after_epoch):
        told(observed)
        found.append(weight.value)
    return found


@pytest.mark.parametrize(
    ("words", "weights"),
    [
        (["lambda=0.5"], [0.5, 0.5, 0.5]),
        (["lambda=.5", "target=.8", "increment=.25"], [0.5, 0.5, 0.75]),
        (["lambda=.5", "target=.8", "increment=.25", "turn=step"], [0.5, 0.75, 0.75]),
        (["lambda=0.5", "limit=3", "ascent=0.5"], [0.5, 1.0, 1.0]),
        (["lambda=0.5", "limit=2", "limited=loss", "ascent=1"], [0.5, 1.0, 1.0]),
        (["lambda=0.5", "limit=1", "limited=accuracy", "ascent=5"], [0.5, 0.4, 0.4]),
    ],
    ids=lambda each: each[-1] if isinstance(each[-1], str) else "",
)
def test_each_rule_of_the_weight_moves_it_when_and_as_it_should(words, weights):
    observed = Observed(accuracy=0.9, loss=1.0, penalty=4.0)
    found = moved_by(options_from_words(WeightOptions, words), observed)
    assert found == pytest.approx(weights)


@pytest.mark.parametrize("name", SCHEDULES)
def test_factors_of_the_rate_stay_within_one_and_end_no_higher(name):
    factors = [SCHEDULES[name](share / 100.0) for share in range(100)]
    assert max(factors) == pytest.approx(1.0)
    assert min(factors) >= 0.0
    assert factors[-1] <= factors[50] <= 1.0


def test_schedules_pass_through_their_landmarks():
    assert SCHEDULES["cosine"](0.5) == pytest.approx(0.5)
    assert SCHEDULES["one-cycle"](0.0) == pytest.approx(1 / 25)
    assert SCHEDULES["one-cycle"](0.3) == pytest.approx(1.0)
    assert [SCHEDULES["step"](share) for share in (0.49, 0.5, 0.75)] == [1, 0.1, 0.01]


@pytest.mark.parametrize("name", OPTIMISERS)
def test_each_optimiser_descends_a_bowl(name):
    point = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    optimiser = optimiser_named(name, [point], 0.05)
    for _ in range(300):
        optimiser.zero_grad()
        point.square().sum().backward()
        optimiser.step()
    assert float(point.detach().norm()) < 0.05


def test_the_plain_fit_follows_the_targets():
    assert plain_fit(two_clouds()) == CrossEntropy()
    assert plain_fit(regression()) == MeanSquared()


def test_the_plain_losses_are_their_formulas():
    net = small_net()
    inputs, labels = torch.rand(5, 2), torch.tensor([0, 1, 1, 0, 1])
    outputs = net(inputs).detach()
    wanted = (outputs.logsumexp(1) - outputs[range(5), labels]).mean()
    found = CrossEntropy()(net, Batch(inputs, labels), NOW)
    assert torch.allclose(found.loss, wanted)
    values = torch.rand(5, 2)
    squared = MeanSquared()(net, Batch(inputs, values), NOW)
    assert torch.allclose(squared.loss, (outputs - values).square().mean())
    assert torch.equal(squared.outputs, outputs)


def candidate(number, score, net=None):
    epoch = Epoch(number, 0.0, 0.0, math.nan, 0.0, score, 0.0)
    data = two_clouds()
    return Candidate(net or small_net(), data.validation, CrossEntropy(), epoch)


def best_of(scores, selection=validation):
    best = None
    for number, score in enumerate(scores):
        best = better(best, candidate(number, score), selection)
    return best.number


def test_the_best_score_is_selected_and_of_equal_ones_the_later():
    assert best_of([0.5, 0.9, 0.9, 0.7]) == 2
    assert best_of([0.5, 0.9, 0.9, 0.7], latest) == 3


def test_a_score_that_is_no_number_never_replaces_one():
    assert best_of([0.5, math.nan]) == 0
    assert best_of([math.nan, 0.1, math.nan]) == 1
    assert best_of([math.nan, math.nan]) == 1


def test_the_parameters_kept_are_not_those_that_move_on():
    net = small_net()
    kept = better(None, candidate(0, 1.0, net), validation)
    before = bits(net)
    with torch.no_grad():
        next(net.parameters()).zero_()
    net.load_state_dict(kept.parameters)
    assert bits(net) == before


def test_the_objective_is_the_fit_on_the_validation_part():
    one = candidate(0, 0.0)
    loss = CrossEntropy()(one.model, one.validation, NOW).loss
    assert objective(one) == pytest.approx(-float(loss.detach()), rel=1e-5)
    nothing = replace(one, validation=one.validation.rows(slice(0, 0)))
    assert math.isnan(objective(nothing))
    assert math.isnan(validation_score(one.model, nothing.validation))
