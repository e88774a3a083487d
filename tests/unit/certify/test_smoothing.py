"""Smoothed models whose probabilities are known in closed form."""

from __future__ import annotations

import hashlib
from statistics import NormalDist

import pytest
import torch
from torch import Tensor

from robustcert.certify.smoothing.table import smoothing_table
from robustcert.certify.smoothing.votes import MOST_ROWS, noise_source, votes
from robustcert.errors import SamplesError, UnsoundModelError
from robustcert.models.interface import LoadedModel
from robustcert.models.samples import Samples
from robustcert.results.progress import Progress
from robustcert.results.report import OutputKind
from robustcert.results.smoothing import SmoothingPlan
from robustcert.results.threat_model import UNIT_BOX, Box

WIDE = Box(-10.0, 10.0)
W = torch.tensor([[3.0, 4.0], [0.0, 0.0]])


def model(function, classes=2, size=2) -> LoadedModel:
    return LoadedModel(
        function=function,
        artifact=None,
        sha256=hashlib.sha256(b"").hexdigest(),
        format="torchscript",
        input_shape=(size,),
        classes=classes,
        output=OutputKind.LOGITS,
        parameters=0,
        dtype=torch.float32,
        device=torch.device("cpu"),
    )


def halfspace() -> LoadedModel:
    """Class 0 where ``3 x_0 + 4 x_1 > 0``."""
    return model(lambda x: x @ W.T)


def samples(*points: tuple[float, ...], label: int = 0) -> Samples:
    inputs = torch.tensor(points)
    return Samples(inputs, torch.full((len(points),), label), "handmade", "")


def test_a_halfspace_is_certified_up_to_nearly_its_exact_distance():
    """Smoothing does not move a halfspace: the smoothed class changes at distance."""
    points = ((0.3, 0.4), (0.06, 0.08), (-0.3, -0.4))
    plan = SmoothingPlan(sigma=0.5, draws=20_000, seed=1)
    rows = smoothing_table(halfspace(), samples(*points), WIDE, plan).rows
    for row, distance in zip(rows, (0.5, 0.1, 0.5), strict=True):
        assert row.radius <= distance
        assert row.radius == pytest.approx(distance, abs=0.03)
    assert [row.candidate for row in rows] == [0, 0, 1]
    assert [row.right for row in rows] == [True, True, False]


def test_on_the_boundary_the_smoothed_model_abstains():
    plan = SmoothingPlan(sigma=0.5, draws=5_000)
    table = smoothing_table(halfspace(), samples((0.0, 0.0)), WIDE, plan)
    assert table.abstained == 1.0


def test_a_shell_that_few_draws_reach_gives_the_class_around_it():
    """Class 1 within .1 of the origin: the smoothed model gives 0 even there."""
    shell = model(lambda x: torch.stack([x.norm(dim=1), 0.1 + 0 * x[:, 0]], dim=1))
    plan = SmoothingPlan(sigma=1.0, draws=2_000)
    row = smoothing_table(shell, samples((0.0, 0.0)), WIDE, plan).rows[0]
    assert row.candidate == 0
    assert row.radius > 1.0


def test_shares_of_votes_are_those_of_the_normal_distribution():
    count = 50_000
    source = noise_source(0, 0, torch.device("cpu"))
    point = torch.tensor([0.06, 0.08])
    found = votes(halfspace(), point, 0.2, count, source)
    expected = NormalDist().cdf(0.1 / 0.2)
    assert found.sum().item() == count
    assert found[0].item() / count == pytest.approx(expected, abs=0.01)


def test_noise_leaves_the_box():
    seen: list[Tensor] = []

    def watching(x: Tensor) -> Tensor:
        seen.append(x)
        return x @ W.T

    plan = SmoothingPlan(sigma=1.0, draws=500)
    smoothing_table(model(watching), samples((0.5, 0.5)), UNIT_BOX, plan)
    everything = torch.cat(seen)
    assert everything.min() < -1.0
    assert everything.max() > 2.0


def test_an_output_that_is_not_finite_is_no_vote():
    def half_broken(x: Tensor) -> Tensor:
        logits = x @ W.T
        return logits.where(x[:, :1] > 0.0, torch.nan)

    source = noise_source(0, 0, torch.device("cpu"))
    found = votes(model(half_broken), torch.zeros(2), 1.0, 4_000, source)
    assert found[2].item() == pytest.approx(2_000, abs=200)
    silent = model(lambda x: x @ W.T * torch.nan)
    plan = SmoothingPlan(sigma=1.0, draws=100)
    row = smoothing_table(silent, samples((0.5, 0.5)), WIDE, plan).rows[0]
    assert (row.candidate, row.radius) == (None, 0.0)


def test_all_draws_are_made_however_many_fit_into_a_batch():
    sizes: list[int] = []

    def counting(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return x @ W.T

    source = noise_source(0, 0, torch.device("cpu"))
    count = 2 * MOST_ROWS + 5
    assert votes(model(counting), torch.zeros(2), 1.0, count, source).sum() == count
    assert sizes == [MOST_ROWS, MOST_ROWS, 5]


def test_a_seed_gives_the_same_table_and_global_generators_stay_untouched():
    plan = SmoothingPlan(sigma=0.3, draws=300, seed=7)
    chosen = samples((0.1, 0.1), (0.2, -0.1))
    before = torch.get_rng_state()
    first = smoothing_table(halfspace(), chosen, WIDE, plan)
    assert torch.equal(torch.get_rng_state(), before)
    assert smoothing_table(halfspace(), chosen, WIDE, plan) == first
    other = SmoothingPlan(sigma=0.3, draws=300, seed=8)
    assert smoothing_table(halfspace(), chosen, WIDE, other).rows != first.rows


def test_a_sample_gets_the_same_row_whatever_follows_it():
    plan = SmoothingPlan(sigma=0.3, draws=300)
    alone = smoothing_table(halfspace(), samples((0.1, 0.1)), WIDE, plan)
    both = smoothing_table(halfspace(), samples((0.1, 0.1), (0.3, 0.0)), WIDE, plan)
    assert both.rows[:1] == alone.rows


def test_the_listener_hears_of_each_sample():
    heard: list[Progress] = []
    plan = SmoothingPlan(sigma=0.3, draws=100)
    chosen = samples((0.1, 0.1), (0.2, 0.2))
    smoothing_table(halfspace(), chosen, WIDE, plan, heard.append)
    assert [(p.done, p.total) for p in heard] == [(1, 2), (2, 2)]


def test_a_model_that_mixes_its_batch_is_refused():
    mixing = model(lambda x: (x - x.mean(dim=0)) @ W.T)
    with pytest.raises(UnsoundModelError, match="outside its batch"):
        smoothing_table(mixing, samples((0.1, 0.1)), WIDE, SmoothingPlan(sigma=0.3))


def test_a_model_that_draws_its_answer_is_refused():
    own = torch.Generator().manual_seed(0)
    drawing = model(lambda x: torch.randn(len(x), 2, generator=own))
    with pytest.raises(UnsoundModelError, match="the second time"):
        smoothing_table(drawing, samples((0.1, 0.1)), WIDE, SmoothingPlan(sigma=0.3))


def test_samples_outside_the_box_are_refused():
    with pytest.raises(SamplesError, match="outside the box"):
        smoothing_table(
            halfspace(), samples((2.0, 0.0)), UNIT_BOX, SmoothingPlan(sigma=0.3)
        )
