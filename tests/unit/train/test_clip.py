"""CLIP as published, on models whose quotients are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from robustcert.errors import SamplesError, UnsoundModelError, UsageError
from robustcert.results.threat_model import UNIT_BOX, Box
from robustcert.train.clip import Clip, ClipOptions
from robustcert.train.interface import Moment
from robustcert.train.pairs import quotients
from tests.unit.train.steps import Parabola, linear, look, pictures, small_net

WIDE = Box(-100.0, 100.0)
NOW = Moment(0, 0, 1)


def held(first: list[list[float]], second: list[list[float]], tau: float) -> Clip:
    """CLIP with these pairs."""
    clip = Clip(torch.tensor(first), WIDE, ClipOptions(len(first), 0.1, tau), 0)
    clip.restore(
        {"epoch": 0, "first": torch.tensor(first), "second": torch.tensor(second)}
    )
    return clip


def test_the_penalty_is_the_largest_quotient_itself():
    clip = held([[1.0], [2.0], [5.0]], [[2.0], [4.0], [5.5]], tau=0.0)
    assert look(Parabola(2.0), clip, 1.0) == pytest.approx(2.0 * 10.5)


def test_only_the_steepest_pair_is_differentiated_by_the_parameters():
    model = Parabola(2.0)
    look(model, held([[1.0], [2.0]], [[2.0], [4.0]], tau=0.0), 0.5)
    assert model.a.grad.item() == pytest.approx(0.5 * (2.0 + 4.0))


def test_each_pair_climbs_by_tau_times_quotient_times_gradient():
    clip = held([[1.0], [2.0]], [[2.0], [4.0]], tau=0.1)
    look(Parabola(2.0), clip, 1.0)
    # L = 2 (x + x') is 6 and 12; its gradient by each end is 2.
    assert clip.pairs.first.flatten().tolist() == pytest.approx([2.2, 4.4])
    assert clip.pairs.second.flatten().tolist() == pytest.approx([3.2, 6.4])


@pytest.mark.parametrize("weight", [1e-10, 10.0])
def test_pairs_climb_alike_whatever_the_weight(weight):
    clip = held([[1.0], [2.0]], [[2.0], [4.0]], tau=0.1)
    look(Parabola(2.0), clip, weight)
    assert clip.pairs.first.flatten().tolist() == pytest.approx([2.2, 4.4])


def test_pairs_rest_while_nothing_is_penalised():
    clip = held([[1.0], [2.0]], [[2.0], [4.0]], tau=0.1)
    clip.after_backward(Parabola(2.0), 0.0)
    assert clip.pairs.first.flatten().tolist() == [1.0, 2.0]


def test_the_climb_leaves_no_gradient_at_the_parameters():
    model, clip = Parabola(2.0), held([[1.0]], [[2.0]], tau=0.1)
    clip.value(model, NOW).backward()
    left = model.a.grad.clone()
    clip.after_backward(model, 1.0)
    assert torch.equal(model.a.grad, left)
    assert model.a.requires_grad


def test_pairs_stay_in_the_box_however_they_climb():
    clip = Clip(pictures(40), UNIT_BOX, ClipOptions(32, 0.5, tau=1.0), 0)
    net = small_net(nn.Tanh)
    for _ in range(200):
        look(net, clip, 0.1)
    for end in (clip.pairs.first, clip.pairs.second):
        assert end.min() >= 0.0
        assert end.max() <= 1.0


def test_pairs_are_drawn_anew_with_each_epoch_and_not_within():
    clip = Clip(pictures(40), UNIT_BOX, ClipOptions(8, 0.5, tau=0.0), 0)
    net, drawn = small_net(nn.Tanh), []
    for epoch in (0, 0, 1, 1, 2):
        look(net, clip, 0.1, epoch)
        drawn.append(clip.pairs.second)
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[2], drawn[3])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[2], drawn[4])


def test_a_duplicate_pair_is_never_the_steepest_while_another_moves():
    clip = held([[1.0], [3.0], [3.0]], [[2.0], [3.0], [3.0]], tau=0.1)
    model = Parabola(2.0)
    assert look(model, clip, 1.0) == pytest.approx(6.0)
    assert model.a.grad.item() == pytest.approx(3.0)
    assert torch.isfinite(clip.pairs.first).all()


def test_nothing_but_duplicates_is_a_penalty_of_0_with_a_finite_gradient():
    clip = held([[3.0], [3.0]], [[3.0], [3.0]], tau=0.1)
    model = Parabola(2.0)
    assert look(model, clip, 1.0) == 0.0
    assert model.a.grad.item() == 0.0
    assert torch.isfinite(clip.pairs.first).all()


def test_a_model_that_is_not_finite_is_refused():
    with pytest.raises(UnsoundModelError):
        look(Parabola(math.nan), held([[1.0]], [[2.0]], tau=0.1), 1.0)


def test_the_penalty_never_exceeds_the_lipschitz_constant_of_a_linear_model():
    model = linear([3.0, 1.0, 0.0], [0.0, 2.0, 1.0])
    true = float(torch.linalg.matrix_norm(model.weight.detach(), 2))
    clip = Clip(torch.rand(20, 3), UNIT_BOX, ClipOptions(16, 0.3, tau=0.01), 0)
    for _ in range(100):
        assert look(model, clip, 1.0) <= true * (1.0 + 1e-4)


def test_a_restored_clip_goes_on_with_the_same_bits():
    def fresh() -> Clip:
        return Clip(pictures(40), UNIT_BOX, ClipOptions(8, 0.5, 0.05), 3)

    net, first, second = small_net(nn.Tanh), fresh(), fresh()
    for epoch in (0, 1, 1):
        look(net, first, 0.1, epoch)
    second.restore(first.state())
    for epoch in (1, 2):
        assert look(net, first, 0.1, epoch) == look(net, second, 0.1, epoch)
    assert torch.equal(first.pairs.second, second.pairs.second)


def test_the_value_is_that_of_the_steepest_of_all_pairs():
    clip = Clip(pictures(40), UNIT_BOX, ClipOptions(32, 0.5, 0.05), 0)
    net = small_net(nn.Tanh)
    ends = clip.pairs.joined()
    expected = quotients(net, ends, UNIT_BOX).max()
    assert clip.value(net, NOW).item() == pytest.approx(expected.item(), rel=1e-5)


def test_drawing_pairs_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    Clip(pictures(40), UNIT_BOX, ClipOptions(8, 0.5, 0.05), 3)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("numbers", [(0, 0.1, 0.1), (8, 0.0, 0.1), (8, 0.1, math.nan)])
def test_options_without_a_meaning_are_refused(numbers):
    with pytest.raises(UsageError):
        ClipOptions(*numbers)


def test_without_reserved_inputs_there_are_no_pairs():
    with pytest.raises(SamplesError):
        Clip(torch.empty(0, 3), UNIT_BOX, ClipOptions(), 0)
