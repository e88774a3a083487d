from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from robustcert.attacks.apgd import ROWS as APGD
from robustcert.attacks.counting import counted
from robustcert.attacks.interface import Target
from robustcert.attacks.square import ROWS
from robustcert.attacks.square.attack import Square
from robustcert.attacks.square.canvas import (
    Dice,
    Picture,
    Table,
    canvas_of,
    hill,
    odd_side,
    two_bumps,
)
from robustcert.attacks.square.proposals import first_points, next_points
from robustcert.attacks.square.schedule import share_at
from robustcert.attacks.verify import verify
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.report import OutputKind
from robustcert.results.threat_model import Box, ThreatModel
from robustcert.tensors import lp_norms

SHORT = ROWS["square-short"]
NORMS = pytest.mark.parametrize("norm", THREAT_NORMS)
CANVASES = pytest.mark.parametrize(
    ("canvas", "size"),
    [
        (Picture(3, 8, 8), 192),
        (Picture(1, 4, 9), 36),
        (Picture(2, 1, 12), 24),
        (Picture(1, 1, 1), 1),
        (Table(10), 10),
        (Table(1), 1),
    ],
    ids=str,
)


def dice_for(rows, seed=0):
    return Dice(torch.Generator().manual_seed(seed), rows, torch.float32)


def broken(row, model, inputs, labels, threat, seed=0):
    """Which candidates pass verification."""
    candidates = row.perturb(Target(model, inputs, labels, threat, seed))
    return verify(model, candidates, inputs, labels, threat).passed


def test_the_share_is_halved_where_autoattack_halves_it():
    halvings = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
    for power, query in enumerate(halvings):
        assert share_at(query, 10_000) == pytest.approx(0.8 / 2**power)
        assert share_at(query + 1, 10_000) == pytest.approx(0.4 / 2**power)


def test_shorter_runs_go_through_the_same_shares():
    assert share_at(999, 1000) == share_at(9999, 10_000) == 0.8 / 2**9
    assert share_at(150, 1000) == share_at(1500, 10_000)


@pytest.mark.parametrize(
    ("shape", "canvas"),
    [
        ((3, 8, 8), Picture(3, 8, 8)),
        ((2, 5, 8, 8), Picture(10, 8, 8)),
        ((2, 30), Picture(2, 1, 30)),
        ((7,), Table(7)),
    ],
    ids=str,
)
def test_the_last_two_axes_are_a_picture_and_one_axis_is_a_table(shape, canvas):
    assert canvas_of(shape) == canvas


@CANVASES
@pytest.mark.parametrize("share", [0.8, 0.1, 0.001])
def test_a_window_holds_distinct_coordinates_of_the_input(canvas, size, share):
    dice = dice_for(5)
    windows = canvas.transfer(share, dice)
    for cells in (canvas.cells(share, dice), windows.cells, windows.givers):
        rows = cells.flatten(1)
        assert rows.min() >= 0
        assert rows.max() < size
        assert all(len(row.unique()) == len(row) for row in rows)


@CANVASES
def test_the_change_that_l2_adds_is_at_most_twice_as_long_as_what_is_there(
    canvas, size
):
    windows = canvas.transfer(0.3, dice_for(4))
    assert (torch.linalg.vector_norm(windows.bump, dim=2) <= 2.0 + 1e-6).all()
    assert windows.bump.shape[2] == windows.cells.shape[2] == windows.givers.shape[2]


@pytest.mark.parametrize("share", [0.8, 0.4, 0.05, 0.001])
def test_a_window_has_about_its_share_of_a_picture(share):
    high, wide = Picture(3, 32, 32).sides(share)
    assert abs(high - wide) <= 1
    assert abs(high - math.sqrt(share) * 32) <= 1.0


def test_a_window_of_a_signal_is_a_stretch_of_time():
    assert Picture(2, 1, 100).sides(0.3) == (1, 30)


def test_hills_rise_towards_the_middle_by_inverse_squares():
    rim, ring, top = 1 / 9, 1 / 9 + 1 / 4, 1 / 9 + 1 / 4 + 1
    assert hill(5, 5)[2].tolist() == pytest.approx([rim, ring, top, ring, rim])
    assert hill(5, 5)[0].tolist() == pytest.approx([rim] * 5)


def test_two_bumps_have_opposite_signs_on_the_two_halves():
    bumps = two_bumps(3, 6).reshape(3, 6)
    assert (bumps[:, :3] > 0.0).all()
    assert torch.equal(bumps[:, 3:], -bumps[:, :3])
    assert torch.equal(two_bumps(6, 3).reshape(6, 3), bumps.T)


def test_odd_sides_fit():
    sides = [odd_side(side, limit) for side, limit in ((4, 9), (1, 9), (9, 8), (3, 1))]
    assert sides == [5, 3, 7, 1]


@NORMS
@CANVASES
def test_proposals_stay_on_the_sphere_where_the_box_is_wide(norm, canvas, size):
    centres = torch.full((6, size), 0.5)
    threat, dice = ThreatModel(norm, 0.3, Box(-9.0, 9.0)), dice_for(6)
    points = first_points(canvas, centres, threat, dice)
    for share in (0.8, 0.2, 0.01):
        assert torch.allclose(lp_norms(points - centres, norm), torch.full((6,), 0.3))
        points = next_points(canvas, points, centres, threat, share, dice)


@CANVASES
def test_linf_proposals_always_change_something_and_only_inside_the_box(canvas, size):
    centres = torch.zeros(6, size)
    threat, dice = ThreatModel(Norm.LINF, 0.3), dice_for(6)
    points = first_points(canvas, centres, threat, dice)
    for _ in range(20):
        after = next_points(canvas, points, centres, threat, 0.01, dice)
        assert ((after - points).abs().amax(dim=1) > 0.1).all()
        assert float(after.min()) >= 0.0
        points = after


@NORMS
def test_a_half_space_is_left_beyond_the_dual_norm_distance_and_not_before(wrap, norm):
    generator = torch.Generator().manual_seed(7)
    W = torch.randn(12, generator=generator)
    model = wrap(lambda x: torch.stack([(x - 0.5) @ W, 0.0 * x[:, 0]], dim=1), (12,), 2)
    inputs = 0.5 + 0.03 * torch.randn(6, 12, generator=generator)
    gaps = (inputs - 0.5) @ W
    labels = (gaps < 0.0).long()
    exact = gaps.abs() / torch.linalg.vector_norm(W, ord=norm.dual.value)
    slack = 1.01 if norm is Norm.LINF else 1.05
    for i, distance in enumerate(exact.tolist()):
        alone = inputs[i : i + 1], labels[i : i + 1]
        assert broken(SHORT, model, *alone, ThreatModel(norm, slack * distance)).all()
    nearest = ThreatModel(norm, 0.99 * float(exact.min()))
    assert not broken(SHORT, model, inputs, labels, nearest).any()


def test_a_net_without_gradients_falls_to_square_alone(bars):
    model, inputs, labels = bars
    steps = replace(model, function=lambda x: model.function((15.0 * x).round() / 15.0))
    threat = ThreatModel(Norm.LINF, 0.14)
    climbed = broken(APGD["apgd-ce"], steps, inputs, labels, threat)
    searched = broken(SHORT, steps, inputs, labels, threat)
    assert int(searched.sum()) >= int(climbed.sum()) + len(inputs) // 4


@NORMS
def test_candidates_lie_in_ball_and_box(bars, norm):
    model, inputs, labels = bars
    threat = ThreatModel(norm, 0.1 if norm is Norm.LINF else 0.5)
    found = Square("brief", 30).perturb(Target(model, inputs, labels, threat, 0))
    assert found.shape == inputs.shape
    assert float(found.min()) >= 0.0
    assert float(found.max()) <= 1.0
    sizes = lp_norms(found.double() - inputs.double(), norm)
    assert float(sizes.max()) <= threat.epsilon * (1.0 + 1e-6)


def test_a_sample_that_stays_costs_all_queries_and_one_that_leaves_few(wrap):
    model, queries = counted(
        wrap(lambda x: torch.stack([x[:, 0], 0.5 + 0.0 * x[:, 0]], dim=1), (2,), 2)
    )
    inputs = torch.tensor([[0.9, 0.5], [0.55, 0.5]])
    target = Target(model, inputs, torch.tensor([0, 0]), ThreatModel(Norm.LINF, 0.2), 0)
    Square("counted", 400).perturb(target)
    assert queries.backward == 0
    assert 401 < queries.forward <= 420


def test_the_same_seed_gives_the_same_candidates_and_touches_no_global_generator(bars):
    model, inputs, labels = bars
    before = torch.random.get_rng_state()
    threat, row = ThreatModel(Norm.L2, 0.5), Square("brief", 30)
    first, second, other = (
        row.perturb(Target(model, inputs, labels, threat, seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


@NORMS
@pytest.mark.parametrize(
    "shape", [(1,), (6,), (2, 7), (1, 3, 4), (2, 2, 3, 3)], ids=str
)
def test_inputs_of_any_shape_and_box_are_searched(wrap, norm, shape):
    model = wrap(
        lambda x: -x.reshape(len(x), -1).mean(dim=1), shape, 2, OutputKind.SINGLE_LOGIT
    )
    inputs = torch.full((3, *shape), 0.1)
    size = math.prod(shape)
    budget = 0.3 if norm is Norm.LINF else 0.3 * math.sqrt(size)
    threat = ThreatModel(norm, budget, Box(-1.0, 1.0))
    assert broken(SHORT, model, inputs, torch.zeros(3).long(), threat).all()


@NORMS
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_models_of_any_precision_are_searched(wrap, norm, dtype):
    W = torch.tensor([[4.0, -4.0, 4.0], [-4.0, 4.0, -4.0]], dtype=dtype)
    model = wrap(lambda x: 1e3 * (x - 0.5) @ W.T, (3,), 2, dtype=dtype)
    inputs = torch.tensor([[0.75, 0.25, 0.75]], dtype=dtype)
    threat = ThreatModel(norm, 0.375 if norm is Norm.LINF else 0.65)
    assert broken(SHORT, model, inputs, torch.tensor([0]), threat).all()


@pytest.mark.parametrize("factor", [1e-20, 1e5])
def test_the_scale_of_the_logits_changes_nothing(bars, factor):
    model, inputs, labels = bars
    scaled = replace(model, function=lambda x: factor * model.function(x))
    threat, row = ThreatModel(Norm.LINF, 0.14), Square("brief", 200)
    plain = broken(row, model, inputs, labels, threat).sum()
    assert abs(int(broken(row, scaled, inputs, labels, threat).sum() - plain)) <= 1


def test_points_where_the_model_is_not_finite_are_never_kept(wrap):
    def function(x):
        gap = x[:, 0] - 0.5
        return torch.stack([gap, 0.0 * gap], dim=1).where(x[:, :1] > 0.55, math.nan)

    model = wrap(function, (2,), 2)
    target = Target(
        model,
        torch.full((4, 2), 0.8),
        torch.zeros(4).long(),
        ThreatModel(Norm.L2, 0.4),
        0,
    )
    assert model.logits(SHORT.perturb(target)).isfinite().all()


@pytest.mark.parametrize(
    "threat",
    [ThreatModel(Norm.L2, 0.0), ThreatModel(Norm.LINF, 0.1, Box(0.5, 0.5))],
    ids=["no budget", "no box"],
)
def test_where_nothing_may_move_the_inputs_come_back(linear, threat):
    model, inputs, labels, _ = linear
    level = torch.full_like(inputs, 0.5)
    target = Target(model, level, labels, threat, 0)
    assert torch.equal(SHORT.perturb(target), level)
    none = target.subset(torch.tensor([], dtype=torch.int64))
    assert SHORT.perturb(none).shape == (0, *inputs.shape[1:])
