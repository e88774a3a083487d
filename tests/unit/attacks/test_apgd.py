from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from robustcert.attacks import settings
from robustcert.attacks.apgd import ROWS
from robustcert.attacks.apgd.attack import Apgd
from robustcert.attacks.apgd.finds import finds_of, never
from robustcert.attacks.apgd.jitter import jitter_loss
from robustcert.attacks.apgd.objectives import (
    Goals,
    Query,
    margin,
    ratio,
    targeted_ratio,
    tempered_cross_entropy,
    with_unit_slopes,
)
from robustcert.attacks.apgd.pace import checkpoints, first_pace
from robustcert.attacks.apgd.trajectories import random_starts
from robustcert.attacks.counting import counted
from robustcert.attacks.interface import Target
from robustcert.attacks.torchattacks_adapter import GuestAttack
from robustcert.attacks.verify import fooled, verify
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.report import OutputKind
from robustcert.results.threat_model import Box, ThreatModel
from robustcert.tensors import lp_norms

NORMS = pytest.mark.parametrize("norm", THREAT_NORMS)
_KINDS = ("apgd-ce", "apgd-margin", "apgd-dlr", "apgd-t-short", "jitter")
ALL_ROWS = pytest.mark.parametrize("row", [ROWS[kind] for kind in _KINDS], ids=_KINDS)


def broken(row, model, inputs, labels, threat, seed=0):
    """Which candidates pass verification."""
    candidates = row.perturb(Target(model, inputs, labels, threat, seed))
    return verify(model, candidates, inputs, labels, threat).passed


def exact_distances(model, inputs, labels, matrix, norm):
    """min over k of margin_k / |w_y - w_k|_q, the distance to each hyperplane."""
    logits = model.logits(inputs).double()
    gaps = logits.gather(1, labels[:, None]) - logits
    rows = (matrix[labels][:, None] - matrix[None]).double()
    slopes = torch.linalg.vector_norm(rows, ord=norm.dual.value, dim=2)
    return (gaps / slopes).nan_to_num(nan=math.inf).amin(dim=1)


@pytest.fixture(scope="module")
def halves(wrap):
    """Two classes, told apart by a hyperplane through the middle of the box."""
    generator = torch.Generator().manual_seed(7)
    W = torch.randn(2, 9, generator=generator)
    inputs = 0.5 + 0.03 * torch.randn(6, 9, generator=generator)
    model = wrap(lambda x: (x - 0.5) @ W.to(x.dtype).T, (9,), 2)
    return model, inputs, model.logits(inputs).argmax(dim=1), W


@NORMS
@ALL_ROWS
def test_a_half_space_is_left_just_beyond_the_dual_norm_distance_and_not_before(
    halves, row, norm
):
    model, inputs, labels, W = halves
    exact = exact_distances(model, inputs, labels, W, norm)
    for i, distance in enumerate(exact.tolist()):
        alone = inputs[i : i + 1], labels[i : i + 1]
        assert broken(row, model, *alone, ThreatModel(norm, 1.01 * distance)).all()
    nearest = ThreatModel(norm, 0.99 * float(exact.min()))
    assert not broken(row, model, inputs, labels, nearest).any()


@NORMS
def test_trying_every_target_finds_the_nearest_of_several_hyperplanes(linear, norm):
    model, inputs, labels, W = linear
    for i, distance in enumerate(exact_distances(model, inputs, labels, W, norm)[:6]):
        threat = ThreatModel(norm, 1.01 * float(distance))
        alone = inputs[i : i + 1], labels[i : i + 1]
        assert broken(ROWS["apgd-t"], model, *alone, threat).all()


def test_checkpoints_of_100_steps_are_those_of_the_paper():
    assert checkpoints(100) == (22, 41, 57, 70, 80, 87, 93, 99)


@pytest.mark.parametrize("steps", [1, 5, 20, 30, 1000])
def test_checkpoints_ascend_and_none_comes_after_the_last_step(steps):
    found = checkpoints(steps)
    assert list(found) == sorted(set(found))
    assert found[0] >= 1
    assert found[-1] <= steps


def paced(losses, sizes=(2.0,)):
    """The pace of one trajectory after steps through these losses."""
    pace = first_pace(torch.tensor(losses[:1]), torch.tensor(sizes))
    for before, after in pairwise(losses):
        pace = pace.stepped(torch.tensor([before]), torch.tensor([after]))
    return pace.reviewed(torch.tensor([max(losses)]), len(losses) - 1)


def test_a_step_size_is_halved_when_fewer_than_three_in_four_steps_rise():
    assert paced([0.0, 1.0, 2.0, 1.5, 1.4]).sizes.item() == 1.0


def test_a_step_size_stays_when_three_in_four_steps_rise():
    pace = paced([0.0, 1.0, 2.0, 1.5, 3.0])
    assert pace.sizes.item() == 2.0
    assert not pace.halved.item()
    assert pace.rises.item() == 0


def test_a_step_size_is_halved_when_the_largest_loss_stands_still_since_a_review():
    pace = paced([0.0, 5.0, 6.0, 7.0, 8.0])
    for before, after in zip([0.0, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0], strict=True):
        pace = pace.stepped(torch.tensor([before]), torch.tensor([after]))
    assert pace.reviewed(torch.tensor([8.0]), 4).sizes.item() == 1.0
    assert pace.reviewed(torch.tensor([8.1]), 4).sizes.item() == 2.0


def test_after_a_halving_standing_still_does_not_halve_again_by_itself():
    pace = paced([9.0, 1.0, 1.0, 1.0, 1.0])
    assert pace.sizes.item() == 1.0
    for before, after in zip([0.0, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0], strict=True):
        pace = pace.stepped(torch.tensor([before]), torch.tensor([after]))
    assert pace.reviewed(torch.tensor([9.0]), 4).sizes.item() == 1.0


def test_jitter_is_the_length_of_noisy_softmax_minus_one_hot():
    scaled = torch.tensor([[math.log(2.0), 0.0, 0.0]], dtype=torch.float64)
    noise = torch.tensor([[0.1, -0.2, 0.3]], dtype=torch.float64)
    value = jitter_loss(scaled, torch.tensor([0]), noise, torch.tensor([0.5]))
    by_hand = math.hypot(0.5 - 1.0 + 0.1, 0.25 - 0.2, 0.25 + 0.3)
    assert value.item() == pytest.approx(by_hand)


def test_jitter_is_divided_by_the_distance_once_the_model_is_fooled():
    scaled = torch.tensor([[0.0, math.log(3.0)]], dtype=torch.float64).repeat(2, 1)
    distances = torch.tensor([0.5, 0.0], dtype=torch.float64)
    value = jitter_loss(
        scaled, torch.tensor([0, 0]), torch.zeros_like(scaled), distances
    )
    length = math.hypot(0.75, 0.75)
    assert value.tolist() == pytest.approx([length / 0.5, length])


def query_for(labels, targets, classes):
    goals = Goals(
        torch.tensor(labels),
        torch.tensor(targets),
        torch.ones(len(labels), 1, dtype=torch.float64),
    )
    return Query(goals, torch.zeros(len(labels), classes), Norm.L2, torch.Generator())


def test_dlr_gives_way_to_the_margin_where_there_are_two_classes():
    logits = torch.tensor([[1.0, 4.0], [2.0, -1.0]])
    query = query_for([0, 0], [1, 1], 2)
    assert torch.equal(ratio(logits, query), margin(logits, query))


def test_targeted_dlr_gives_way_to_the_targeted_margin_below_four_classes():
    logits = torch.tensor([[1.0, 4.0, 2.5]])
    assert targeted_ratio(logits, query_for([0], [2], 3)).tolist() == [1.5]


def test_unit_slopes_survive_where_the_softmax_underflows():
    logits = torch.tensor([[200.0, 0.0, -1.0]], requires_grad=True)
    query = query_for([0], [1], 3)
    tempered_cross_entropy(with_unit_slopes(logits), query).sum().backward()
    first = 1.0 / (1.0 + math.exp(-1.0))
    assert logits.grad[0].tolist() == pytest.approx([-1.0, first, 1.0 - first])


@NORMS
def test_random_starts_lie_on_the_sphere_where_the_box_allows(norm):
    generator = torch.Generator().manual_seed(0)
    threat = ThreatModel(norm, 0.3, Box(-1.0, 1.0))
    starts = random_starts(torch.zeros(5, 2, 3), threat, generator)
    assert torch.allclose(lp_norms(starts, norm), torch.full((5,), 0.3))


@NORMS
@ALL_ROWS
def test_candidates_lie_in_ball_and_box(bars, row, norm):
    model, inputs, labels = bars
    threat = ThreatModel(norm, 0.1 if norm is Norm.LINF else 0.5)
    found = row.perturb(Target(model, inputs, labels, threat, 0))
    assert found.shape == inputs.shape
    assert float(found.min()) >= 0.0
    assert float(found.max()) <= 1.0
    sizes = lp_norms(found.double() - inputs.double(), norm)
    assert float(sizes.max()) <= threat.epsilon * (1.0 + 1e-6)


@NORMS
def test_robust_accuracy_agrees_with_torchattacks_to_within_one_sample(bars, norm):
    model, inputs, labels = bars
    guest = GuestAttack(
        "guest", "APGD", frozenset(THREAT_NORMS), settings.adaptive_steps(100)
    )
    for epsilon in (0.12, 0.16) if norm is Norm.LINF else (0.7, 1.1):
        threat = ThreatModel(norm, epsilon)
        own = int(broken(ROWS["apgd-ce"], model, inputs, labels, threat).sum())
        other = int(broken(guest, model, inputs, labels, threat).sum())
        assert own >= other - 1
        assert 0 < own < len(inputs)


def test_a_sample_that_stays_costs_one_gradient_a_step_and_one_that_leaves_few(wrap):
    model, queries = counted(wrap(lambda x: x * x.new_tensor([1.0, 0.0]), (2,), 2))
    inputs = torch.tensor([[0.9, 0.5], [0.05, 0.5]])
    labels = torch.tensor([0, 0])
    shifted = replace(model, function=lambda x: model.function(x - 0.01))
    threat = ThreatModel(Norm.LINF, 0.1)
    target = Target(shifted, inputs, labels, threat, 0)
    found = ROWS["apgd-ce"].perturb(target)
    assert fooled(shifted, found, labels).tolist() == [False, True]
    assert 101 + 1 <= queries.backward <= 101 + 3


def test_a_judge_that_is_never_content_lets_nobody_leave(bars):
    model, inputs, labels = bars
    model, queries = counted(model)
    row = Apgd("stubborn", margin, 7, judge=never)
    row.perturb(Target(model, inputs, labels, ThreatModel(Norm.LINF, 0.3), 0))
    assert queries.backward == 8 * len(inputs)


def test_all_trajectories_of_a_sample_end_when_one_is_successful(linear):
    model, inputs, labels, _ = linear
    model, queries = counted(model)
    threat = ThreatModel(Norm.LINF, 0.4)
    assert broken(ROWS["apgd-t"], model, inputs, labels, threat).all()
    assert queries.backward <= 4 * 5 * len(inputs)


def test_the_point_of_smallest_margin_is_returned_where_nothing_fools(halves):
    model, inputs, labels, W = halves
    threat = ThreatModel(Norm.L2, 0.5 * float(
        exact_distances(model, inputs, labels, W, Norm.L2).min()
    ))  # fmt: skip
    found = ROWS["apgd-margin"].perturb(Target(model, inputs, labels, threat, 0))
    rows = torch.arange(len(inputs))
    gaps = model.logits(found)[rows, labels] - model.logits(found)[rows, 1 - labels]
    clean = model.logits(inputs)[rows, labels] - model.logits(inputs)[rows, 1 - labels]
    reach = threat.epsilon * torch.linalg.vector_norm(W[0] - W[1])
    assert torch.allclose(gaps, clean - reach, atol=1e-4)


@ALL_ROWS
def test_the_same_seed_gives_the_same_candidates_and_touches_no_global_generator(
    bars, row
):
    model, inputs, labels = bars
    before = torch.random.get_rng_state()
    threat = ThreatModel(Norm.L2, 0.5)
    first, second, other = (
        row.perturb(Target(model, inputs, labels, threat, seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@ALL_ROWS
def test_models_of_any_precision_are_attacked(wrap, row, dtype):
    W = torch.tensor([[4.0, -4.0, 4.0], [-4.0, 4.0, -4.0]], dtype=dtype)
    model = wrap(lambda x: 50.0 * (x - 0.5) @ W.T, (3,), 2, dtype=dtype)
    inputs = torch.tensor([[0.75, 0.25, 0.75]], dtype=dtype)
    threat = ThreatModel(Norm.LINF, 0.375)
    assert broken(row, model, inputs, torch.tensor([0]), threat).all()


@NORMS
@ALL_ROWS
def test_a_single_logit_is_attacked_from_either_side(wrap, row, norm):
    model = wrap(
        lambda x: 3.0 * (x.flatten(1).sum(dim=1) - 2.0),
        (2, 2),
        2,
        OutputKind.SINGLE_LOGIT,
    )
    inputs = torch.tensor([0.3, 0.6])[:, None, None].expand(2, 2, 2).clone()
    threat = ThreatModel(norm, 0.21 if norm is Norm.LINF else 0.42)
    assert broken(row, model, inputs, torch.tensor([0, 1]), threat).all()


@ALL_ROWS
def test_the_declared_box_bounds_the_candidates(wrap, row):
    model = wrap(lambda x: torch.stack([-x[:, 0], x[:, 0]], dim=1), (3,), 2)
    inputs = torch.full((1, 3), -0.9)
    box = Box(-1.0, 1.0)
    target = Target(
        model, inputs, torch.tensor([0]), ThreatModel(Norm.LINF, 1.0, box), 0
    )
    found = row.perturb(target)
    assert float(found[0, 0]) > 0.0
    assert float(found.abs().max()) <= 1.0


@ALL_ROWS
@pytest.mark.parametrize("factor", [1e-20, 1e5])
def test_the_scale_of_the_logits_changes_at_most_one_outcome(bars, row, factor):
    model, inputs, labels = bars
    scaled = replace(model, function=lambda x: factor * model.function(x))
    threat = ThreatModel(Norm.LINF, 0.12)
    plain = broken(row, model, inputs, labels, threat).sum()
    assert abs(int(broken(row, scaled, inputs, labels, threat).sum() - plain)) <= 1


@ALL_ROWS
def test_a_coordinate_without_a_finite_gradient_does_not_stop_the_others(wrap, row):
    def function(x):
        broken_slope = (x[:, :1] - 2.0).relu().sqrt()
        gap = x.sum(dim=1, keepdim=True) - 1.2
        return torch.cat([gap, 0.0 * broken_slope], dim=1)

    model = wrap(function, (4,), 2)
    inputs = torch.full((1, 4), 0.4)
    threat = ThreatModel(Norm.LINF, 0.2)
    assert broken(row, model, inputs, torch.tensor([0]), threat).all()


def test_points_where_the_model_is_not_finite_are_never_the_best(wrap):
    def function(x):
        gap = x[:, 0] - 0.5
        return torch.stack([gap, 0.0 * gap], dim=1).where(x[:, :1] > 0.55, math.nan)

    model = wrap(function, (2,), 2)
    inputs = torch.full((1, 2), 0.8)
    target = Target(model, inputs, torch.tensor([0]), ThreatModel(Norm.LINF, 0.4), 0)
    found = ROWS["apgd-margin"].perturb(target)
    assert model.logits(found).isfinite().all()


@ALL_ROWS
def test_a_model_that_ignores_its_input_is_survived(wrap, row):
    model = wrap(
        lambda x: x.new_tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(len(x), 1), (3,), 4
    )
    inputs, labels = torch.full((2, 3), 0.5), torch.tensor([0, 0])
    assert not broken(row, model, inputs, labels, ThreatModel(Norm.L2, 0.1)).any()


@ALL_ROWS
@pytest.mark.parametrize(
    "threat",
    [ThreatModel(Norm.L2, 0.0), ThreatModel(Norm.LINF, 0.1, Box(0.5, 0.5))],
    ids=["no budget", "no box"],
)
def test_where_nothing_may_move_the_inputs_come_back(linear, row, threat):
    model, inputs, labels, _ = linear
    level = torch.full_like(inputs, 0.5)
    target = Target(model, level, labels, threat, 0)
    assert torch.equal(row.perturb(target), level)
    none = target.subset(torch.tensor([], dtype=torch.int64))
    assert row.perturb(none).shape == (0, *inputs.shape[1:])


def test_finds_close_a_sample_only_on_what_the_dtype_can_store(wrap):
    # The stored point is a multiple of 2^-11 here; only the query lies beyond .5.
    model = wrap(
        lambda x: torch.stack([0.5 - x[:, 0], 0.0 * x[:, 0]], dim=1),
        (1,), 2, dtype=torch.float16,
    )  # fmt: skip
    inputs = torch.tensor([[0.4]], dtype=torch.float16)
    target = Target(model, inputs, torch.tensor([0]), ThreatModel(Norm.LINF, 0.2), 0)
    finds = finds_of(target, fooled)
    beyond = torch.tensor([[0.50001]])
    row = torch.tensor([0])
    finds.note(row, beyond, torch.tensor([[-1e-5, 0.0]]))
    assert not finds.done.any()
    finds.note(row, torch.tensor([[0.55]]), torch.tensor([[-0.05, 0.0]]))
    assert finds.done.all()
