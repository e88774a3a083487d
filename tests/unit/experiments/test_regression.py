"""The regression of the paper, in small."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from robustcert.experiments.ladders import PENALTIES, ladders
from robustcert.experiments.regression import PLAN, climbed_down, largest_rise
from robustcert.experiments.regression_report import breaches, document, summary
from robustcert.experiments.regression_task import (
    SAMPLES,
    SPANS,
    grid,
    samples,
    starting_net,
    truth,
)
from robustcert.experiments.wanted import Mode

SHORT = replace(PLAN, epochs=12)


@pytest.fixture(scope="module")
def ladder():
    """Two rungs, a third of the steps each."""
    return climbed_down(
        "linear", PENALTIES[Mode.FAITHFUL], plan=SHORT, weights=(10.0, 0.0)
    )


def test_the_true_function_is_flat_in_the_middle_and_rises_by_half_outside():
    assert truth(torch.tensor([-4.0, -3.0, 0.0, 3.0, 4.0])).tolist() == [
        0.5, 0.0, 0.0, 0.0, 0.5,
    ]  # fmt: skip


def test_samples_lie_on_the_spans_near_the_true_function_and_leave_no_span_out():
    part = samples(3).training.rows(slice(0, SAMPLES))
    within = [
        ((part.inputs >= low) & (part.inputs <= high)).flatten() for low, high in SPANS
    ]
    assert len(part) == SAMPLES
    assert bool(torch.stack(within).any(dim=0).all())
    assert all(10 <= int(span.sum()) <= 60 for span in within)
    errors = part.targets - truth(part.inputs)
    assert 0.03 < float(errors.std()) < 0.07


def test_the_points_to_pair_are_spread_over_the_whole_interval():
    points = samples(0).reserve.inputs
    assert float(points.min()) < -3.9
    assert float(points.max()) > 3.9
    assert float(points.mean()) == pytest.approx(0.0, abs=0.3)


def test_a_start_is_the_same_for_the_same_seed_and_differs_for_another():
    nets = [starting_net("linear", seed) for seed in (0, 0, 1)]
    with torch.no_grad():
        values = [net(grid()) for net in nets]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])


def test_a_sigmoid_output_stays_between_0_and_1():
    with torch.no_grad():
        values = starting_net("sigmoid", 0)(grid())
    assert 0.0 < float(values.min()) <= float(values.max()) < 1.0


def test_a_heavy_weight_leaves_nearly_the_best_constant(ladder):
    first = ladder.rungs[0]
    assert first.range_ < 0.05
    assert first.mean == pytest.approx(ladder.barycentre, abs=0.02)


def test_down_the_ladder_the_fit_gets_better_and_steeper(ladder):
    risks = [rung.risk for rung in ladder.rungs]
    assert risks[0] > 2.0 * risks[1]
    assert ladder.rungs[0].upper < ladder.rungs[1].lower


def test_every_estimate_of_a_slope_lies_below_what_is_proved(ladder):
    for rung in ladder.rungs:
        assert rung.lower <= rung.upper <= rung.product * (1.0 + 1e-9)
        assert rung.estimate <= rung.upper + 1e-3  # float32 outputs, .05 apart


def test_breaches_of_the_propositions_are_what_the_rungs_say(ladder):
    found = breaches(ladder)
    assert found["largest_lambda_range"] == ladder.rungs[0].range_
    assert found["best_gap_error"] == min(rung.gap_error for rung in ladder.rungs)
    hurt = replace(ladder, rungs=ladder.rungs[::-1])
    assert breaches(hurt)["rise_of_risk"] > 0.5
    assert "is hurt" in summary([hurt]).rows[0]


def test_the_document_holds_every_curve(ladder):
    curves = [rung["curve"] for rung in document([ladder])["ladders"][0]["rungs"]]
    assert [len(curve) for curve in curves] == [len(grid())] * 2


def test_the_largest_rise_is_relative_and_sees_nothing_below_the_floor():
    assert largest_rise([4.0, 2.0, 3.0, 1.0], 0.0) == pytest.approx(0.5)
    assert largest_rise([3.0, 2.0, 1.0], 0.0) == 0.0
    assert largest_rise([1e-6, 5e-4], 1e-3) == 0.0
    assert largest_rise([2.0], 0.0) == 0.0


@pytest.mark.parametrize("mode", Mode)
def test_ladders_that_are_on_the_disk_are_read_from_there(tmp_path, mode):
    told = []
    first = ladders(mode, [0], 1, tmp_path, told.append, weights=(1.0,))
    once = len(told)
    assert ladders(mode, [0], 1, tmp_path, told.append, weights=(1.0,)) == first
    assert len(told) == once > 0
    assert [one.output for one in first] == ["linear", "sigmoid"]


def test_progress_counts_the_steps_of_all_ladders_and_names_the_rung(tmp_path):
    told = []
    ladders(Mode.FAITHFUL, [4], 1, tmp_path, told.append, weights=(1.0, 0.1))
    assert {progress.stage for progress in told} == {"regression"}
    done = [progress.done for progress in told]
    assert done == sorted(done)
    steps = len(samples(4).training) // PLAN.batch
    assert {progress.total for progress in told} == {2 * 2 * steps}
    assert done[-1] == 2 * 2 * steps
    notes = list(dict.fromkeys(progress.note for progress in told))
    assert notes == [
        "ladder 1 of 2: linear output, seed 4, lambda 1",
        "ladder 1 of 2: linear output, seed 4, lambda 0.1",
        "ladder 2 of 2: sigmoid output, seed 4, lambda 1",
        "ladder 2 of 2: sigmoid output, seed 4, lambda 0.1",
    ]


def test_a_regression_computes_in_one_thread_and_leaves_torch_as_it_was(tmp_path):
    seen, before = [], torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        ladders(
            Mode.FAITHFUL,
            [0],
            1,
            tmp_path,
            lambda _: seen.append(torch.get_num_threads()),
            weights=(1.0,),
        )
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {1}
