"""CLIP+: pairs that persist, stay in the box, keep their distance and never fall."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from robustcert.errors import SamplesError, UnsoundModelError, UsageError
from robustcert.results.norm import Norm
from robustcert.results.threat_model import UNIT_BOX, Box
from robustcert.tensors import lp_norms
from robustcert.train.clip_plus import ClipPlus, ClipPlusOptions
from robustcert.train.interface import Moment
from tests.unit.train.steps import Parabola, linear, look, pictures, small_net

EACH = ClipPlusOptions(pairs=16, every=1)
"""The pairs take part in every step."""


def on_pictures(options: ClipPlusOptions, seed: int = 0) -> ClipPlus:
    return ClipPlus(pictures(40), UNIT_BOX, options, seed)


@pytest.mark.parametrize(
    ("activation", "separation"), [(nn.ReLU, 0.02), (nn.Tanh, 0.1), (nn.Sigmoid, 1.0)]
)
def test_after_a_thousand_steps_pairs_lie_in_the_box_at_their_distance_and_none_fell(
    activation, separation
):
    clip = on_pictures(replace(EACH, separation=separation))
    net, best = small_net(activation), -1.0
    for _ in range(1000):
        look(net, clip, 0.1)
        assert clip.steepest >= best * (1.0 - 1e-6)
        best = clip.steepest
    for end in (clip.pairs.first, clip.pairs.second):
        assert end.min() >= 0.0
        assert end.max() <= 1.0
    lengths = lp_norms(clip.pairs.first - clip.pairs.second, Norm.L2)
    assert torch.allclose(lengths, torch.full_like(lengths, separation), rtol=1e-4)


def test_pairs_stay_in_the_box_at_their_distance_while_the_model_learns():
    clip = on_pictures(EACH)
    net = small_net(nn.ReLU)
    descent = torch.optim.SGD(net.parameters(), lr=0.05)
    values = []
    for _ in range(100):
        values.append(look(net, clip, 0.5))
        descent.step()
        pairs = clip.pairs
        lengths = lp_norms(pairs.first - pairs.second, Norm.L2)
        assert torch.allclose(lengths, torch.full_like(lengths, 0.1), rtol=1e-4)
        assert pairs.joined().clamp(0.0, 1.0).equal(pairs.joined())
    assert values[-1] < 0.5 * max(values)  # the penalty flattens the model


def test_pairs_find_the_largest_singular_value_of_a_linear_model():
    model = linear([3.0, 1.0, 0.0], [0.0, 2.0, 1.0])
    true = float(torch.linalg.matrix_norm(model.weight.detach(), 2))
    clip = ClipPlus(torch.rand(20, 3), UNIT_BOX, EACH, 0)
    for _ in range(49):
        value = look(model, clip, 1.0)
        assert value <= true * (1.0 + 1e-4)
    assert clip.steepest == pytest.approx(true, rel=1e-4)
    assert value == pytest.approx(true, rel=1e-2)


def test_pairs_walk_to_where_the_model_is_steepest():
    # The slope 4 x of 2 x^2 is largest at the end 5: there a pair lies at 4.5 and 5.
    clip = ClipPlus(torch.rand(20, 1), Box(0.0, 5.0), EACH, 0)
    for _ in range(200):
        look(Parabola(2.0), clip, 1.0)
    assert clip.steepest == pytest.approx(2.0 * 9.5, rel=1e-4)


def test_pairs_that_reach_the_steepest_place_are_closer_to_the_truth_than_drawn_ones():
    net = small_net(nn.Tanh)
    climbing, resting = on_pictures(EACH), on_pictures(replace(EACH, reach=0.0))
    for _ in range(300):
        look(net, climbing, 0.1)
        look(net, resting, 0.1)
    assert climbing.steepest > 1.1 * resting.steepest


@pytest.mark.parametrize("weight", [1e-20, 1e-10, 10.0])
def test_pairs_climb_as_with_weight_0_whatever_the_weight(weight):
    net = small_net(nn.Tanh)
    free, weighed = on_pictures(EACH), on_pictures(EACH)
    for _ in range(5):
        look(net, free, 0.0)
        look(net, weighed, weight)
    assert not torch.equal(free.pairs.first, on_pictures(EACH).pairs.first)
    assert torch.allclose(free.pairs.first, weighed.pairs.first, atol=1e-4)


def test_with_weight_0_no_parameter_gets_a_gradient():
    net = small_net(nn.Tanh)
    look(net, on_pictures(EACH), 0.0)
    assert all(parameter.grad is None for parameter in net.parameters())


def test_the_gradient_of_a_single_pair_is_that_of_its_quotient():
    model = linear([3.0, 0.0])
    clip = ClipPlus(torch.full((1, 2), 0.5), UNIT_BOX, replace(EACH, pairs=1), 0)
    for _ in range(20):
        value = look(model, clip, 0.5)
    assert value == pytest.approx(3.0, rel=1e-4)
    assert torch.allclose(model.weight.grad, torch.tensor([[0.5, 0.0]]), atol=1e-4)


def test_the_penalty_lies_between_the_mean_and_the_largest_quotient():
    net = small_net(nn.Tanh)
    values = [
        look(net, on_pictures(replace(EACH, sharpness=sharpness)), 1.0)
        for sharpness in (0.0, 1.0, 10.0, 50.0)
    ]
    assert values == sorted(values)
    clip = on_pictures(EACH)
    look(net, clip, 1.0)
    assert values[-1] == pytest.approx(clip.steepest, rel=0.01)
    assert values[0] < 0.9 * clip.steepest


def test_pairs_in_every_third_step_weigh_three_times_as_much():
    def gradients(every: int) -> list[float]:
        options = replace(EACH, every=every, reach=0.0)
        clip = ClipPlus(torch.rand(20, 1), UNIT_BOX, options, 0)
        model, found = linear([2.0]), []
        for _ in range(6):
            assert look(model, clip, 1.0) == pytest.approx(2.0, rel=1e-4)
            grad = model.weight.grad
            found.append(0.0 if grad is None else grad.item())
        return found

    assert gradients(1) == pytest.approx([1.0] * 6, rel=1e-3)
    assert gradients(3) == pytest.approx([3.0, 0.0, 0.0] * 2, rel=1e-3)


def test_reserved_inputs_that_are_all_the_same_make_a_finite_penalty():
    clip = ClipPlus(torch.zeros(30, 1, 4, 4), UNIT_BOX, EACH, 0)
    net = small_net(nn.ReLU)
    for _ in range(60):
        assert math.isfinite(look(net, clip, 0.1))
        assert all(torch.isfinite(p.grad).all() for p in net.parameters())
    assert torch.isfinite(clip.pairs.joined()).all()


def test_a_model_without_slope_has_penalty_0_and_its_pairs_stay_whole():
    model = linear([0.0, 0.0])
    clip = ClipPlus(torch.rand(20, 2), UNIT_BOX, EACH, 0)
    for _ in range(60):
        assert look(model, clip, 1.0) == 0.0
        assert torch.isfinite(model.weight.grad).all()
    lengths = lp_norms(clip.pairs.first - clip.pairs.second, Norm.L2)
    assert torch.allclose(lengths, torch.full_like(lengths, 0.1), rtol=1e-4)


def test_a_model_that_is_not_finite_is_refused():
    clip = ClipPlus(torch.rand(20, 1), UNIT_BOX, EACH, 0)
    with pytest.raises(UnsoundModelError):
        look(Parabola(math.nan), clip, 1.0)


def test_half_the_pairs_are_drawn_anew_and_the_steepest_stays():
    clip = on_pictures(replace(EACH, renewal=10))
    net = small_net(nn.Tanh)
    for _ in range(9):
        look(net, clip, 0.1)
    best = clip.steepest
    look(net, clip, 0.1)
    unseen = clip.state()["climbers"]["steepness"] < 0.0
    assert int(unseen.sum()) == 8
    assert clip.steepest >= best


@pytest.mark.parametrize("every", [1, 3])
def test_a_restored_penalty_goes_on_with_the_same_bits(every):
    options = replace(EACH, every=every, renewal=4)
    net, first, second = small_net(nn.Tanh), on_pictures(options), on_pictures(options)
    for _ in range(10):
        look(net, first, 0.1)
    second.restore(first.state())
    for _ in range(15):
        assert look(net, first, 0.1) == look(net, second, 0.1)
    assert torch.equal(first.pairs.first, second.pairs.first)


def test_the_same_seed_draws_the_same_pairs_and_another_draws_others():
    assert torch.equal(on_pictures(EACH).pairs.first, on_pictures(EACH).pairs.first)
    assert not torch.equal(
        on_pictures(EACH).pairs.first, on_pictures(EACH, seed=1).pairs.first
    )


def test_climbing_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    clip, net = on_pictures(replace(EACH, renewal=2)), Parabola(1.0)
    for _ in range(5):
        look(net, clip, 0.1)
    assert torch.equal(before, torch.get_rng_state())


def test_a_value_that_was_not_differentiated_is_noticed():
    clip, net = on_pictures(EACH), small_net(nn.Tanh)
    clip.value(net, Moment(0, 0, 1))
    with pytest.raises(UsageError, match="not differentiated"):
        clip.after_backward(net, 0.1)


@pytest.mark.parametrize(
    "changed",
    [
        {"pairs": 0},
        {"every": 0},
        {"renewal": 0},
        {"separation": 0.0},
        {"separation": 1.1},
        {"reach": math.nan},
        {"sharpness": 1e3},
    ],
)
def test_options_without_a_meaning_are_refused(changed):
    with pytest.raises(UsageError):
        replace(EACH, **changed)


def test_pairs_need_reserved_inputs_and_a_box_of_some_width():
    with pytest.raises(SamplesError):
        ClipPlus(torch.empty(0, 3), UNIT_BOX, EACH, 0)
    with pytest.raises(UsageError, match="no two inputs"):
        ClipPlus(torch.zeros(5, 3), Box(0.0, 0.0), EACH, 0)
