"""The ascents against models whose answers are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from robustcert.attacks.ascent import ROWS
from robustcert.attacks.counting import QueryCount, counted
from robustcert.attacks.interface import Target
from robustcert.attacks.surrogate import Surrogate, twin_of
from robustcert.attacks.verify import fooled, settle
from robustcert.graph.extract import extract
from robustcert.models.torchscript import load_torchscript
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.report import OutputKind
from robustcert.results.threat_model import UNIT_BOX, Box, ThreatModel
from robustcert.tensors import lp_norms, margins
from tests.models import nets

EVERY_ROW = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
BOTH_NORMS = pytest.mark.parametrize("norm", THREAT_NORMS)


def broken_by(row, target: Target):
    """``(N,)`` bool, judged as verification does."""
    stored = settle(
        row.perturb(target), target.inputs, target.threat, target.model.dtype
    )
    return fooled(target.model, stored, target.labels)


def with_twin(net, shape, inputs, labels, threat) -> Target:
    """The task on a scripted net, with its smooth twin."""
    model = load_torchscript(nets.scripted(net.eval()), input_shape=shape)
    twin = twin_of(extract(model), model, inputs)
    surrogate = None if twin is None else Surrogate(twin, QueryCount())
    return Target(model, inputs, labels, threat, 0, surrogate)


def exact_distance(gap, slope, room, norm):
    """How far a linear margin ``gap`` lies from 0 along ``slope`` inside the box.

    The cheapest perturbation moves each coordinate by ``min(room, t)`` for
    L-infinity and by ``min(room, t |slope|)`` for L2, with t as small as closes the
    gap.
    """
    pace = torch.ones_like(slope) if norm is Norm.LINF else slope.abs()
    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2.0
        gain = (slope.abs() * torch.minimum(room, middle * pace)).sum()
        low, high = (low, middle) if gain >= gap else (middle, high)
    moves = torch.minimum(room, high * pace)
    return float(torch.linalg.vector_norm(moves, ord=norm.value))


def two_class_line(seed, low, high):
    """A margin ``w x + b`` of one logit, and a sample with coordinates in a range."""
    generator = torch.Generator().manual_seed(seed)
    w = torch.randn(12, generator=generator, dtype=torch.float64)
    x = torch.empty(12, dtype=torch.float64).uniform_(low, high, generator=generator)
    return w, x


@EVERY_ROW
@BOTH_NORMS
@pytest.mark.parametrize(("low", "high"), [(0.4, 0.6), (0.0, 0.2)])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_linear_model_is_broken_from_its_exact_distance_on(
    wrap, row, norm, low, high, seed
):
    w, x = two_class_line(seed, low, high)
    room = torch.where(w > 0.0, x, 1.0 - x)  # the margin falls against w
    gap = 0.3 * float((w.abs() * room).sum())
    model = wrap(
        lambda inputs: (inputs - x) @ w + gap,
        (12,),
        2,
        OutputKind.SINGLE_LOGIT,
        torch.float64,
    )
    exact = exact_distance(gap, w, room, norm)
    label = torch.tensor([1])
    for epsilon, expected in [(0.99 * exact, False), (1.01 * exact, True)]:
        target = Target(model, x[None], label, ThreatModel(norm, epsilon), 0)
        assert bool(broken_by(row, target)) is expected


def dead_unit(norm, epsilon, dtype=torch.float32) -> Target:
    """Class 1 wins where ``x1 + x2 > 1.35``; below 1.2 its only unit is dead."""
    net = nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 2))
    net[0].weight.data[:], net[0].bias.data[:] = 1.0, -1.2
    net[2].weight.data[:] = torch.tensor([[0.0], [4.0]])
    net[2].bias.data[:] = torch.tensor([0.6, 0.0])
    inputs = torch.full((1, 2), 0.5, dtype=dtype)
    threat = ThreatModel(norm, epsilon)
    return with_twin(net.to(dtype), (2,), inputs, torch.tensor([0]), threat)


@pytest.mark.parametrize(("norm", "epsilon"), [(Norm.LINF, 0.2), (Norm.L2, 0.3)])
def test_a_sample_whose_gradient_is_0_falls_to_the_smooth_twin_alone(norm, epsilon):
    target = dead_unit(norm, epsilon)
    assert not broken_by(ROWS["margin-ascent"], target)
    assert broken_by(ROWS["smooth-ascent"], target)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_the_smooth_twin_is_climbed_in_the_dtype_of_the_model(dtype):
    target = dead_unit(Norm.LINF, 0.2, dtype)
    assert broken_by(ROWS["smooth-ascent"], target)


def test_a_find_of_the_smooth_twin_counts_only_where_the_model_is_fooled():
    inside = dead_unit(Norm.LINF, 0.17)  # 1.34 at most
    assert not broken_by(ROWS["smooth-ascent"], inside)


@EVERY_ROW
def test_the_scale_of_the_logits_changes_nothing(bars, wrap, row):
    model, inputs, labels = bars
    threat = ThreatModel(Norm.LINF, 0.15)
    plain = broken_by(row, Target(model, inputs, labels, threat, 0))
    assert 0 < plain.sum() < len(plain)
    for scale in (1e-3, 1e3, 1e5):
        scaled = wrap(lambda x, s=scale: s * model.function(x), (1, 8, 8), 4)
        found = broken_by(row, Target(scaled, inputs, labels, threat, 0))
        assert torch.equal(found, plain)


def kinds(wrap):
    """Models of every kind of output and dtype on tables and pictures, with boxes."""
    generator = torch.Generator().manual_seed(3)
    table = torch.randn(5, 7, generator=generator)
    picture = torch.randn(3, 18, generator=generator)
    single = OutputKind.SINGLE_LOGIT
    return [
        (wrap(lambda x: x @ table[:2].T, (7,), 2), UNIT_BOX),
        (wrap(lambda x: x @ table[0], (7,), 2, single), Box(-1.0, 1.0)),
        (wrap(lambda x: x @ table[:1].T, (7,), 2, single), Box(-3.0, 2.0)),
        (wrap(lambda x: (x @ table.T).tanh(), (7,), 5), Box(-1.0, 1.0)),
        (
            wrap(
                lambda x: (x @ table.T).softmax(dim=1),
                (7,),
                5,
                OutputKind.PROBABILITIES,
            ),
            UNIT_BOX,
        ),
        (wrap(lambda x: x.flatten(1) @ picture.T, (2, 3, 3), 3), UNIT_BOX),
        (
            wrap(lambda x: x @ table.half().T, (7,), 5, dtype=torch.float16),
            UNIT_BOX,
        ),
        (
            wrap(lambda x: x @ table.double().T, (7,), 5, dtype=torch.float64),
            UNIT_BOX,
        ),
    ]


def samples_of(model, box):
    generator = torch.Generator().manual_seed(5)
    inputs = torch.rand(6, *model.input_shape, generator=generator, dtype=torch.float64)
    inputs = (box.low + box.width * inputs).to(model.dtype)
    return inputs, model.logits(inputs).argmax(dim=1)


@EVERY_ROW
@BOTH_NORMS
def test_every_kind_of_model_is_attacked_inside_ball_and_box(wrap, row, norm):
    for model, box in kinds(wrap):
        inputs, labels = samples_of(model, box)
        wide = ThreatModel(norm, 4.0 * box.width, box)
        assert broken_by(row, Target(model, inputs, labels, wide, 0)).any()
        for epsilon in (0.01, 0.2, 1.0):
            threat = ThreatModel(norm, epsilon, box)
            found = row.perturb(Target(model, inputs, labels, threat, 0)).double()
            assert found.shape == inputs.shape
            assert found.min() >= box.low - 1e-6
            assert found.max() <= box.high + 1e-6
            sizes = lp_norms(found - inputs.double(), norm)
            assert sizes.max() <= epsilon * (1.0 + 1e-4)


@EVERY_ROW
@BOTH_NORMS
def test_what_comes_back_is_no_worse_than_the_sample(bars, row, norm):
    model, inputs, labels = bars
    found = row.perturb(Target(model, inputs, labels, ThreatModel(norm, 0.05), 0))
    before = margins(model.logits(inputs), labels)
    assert (margins(model.logits(found), labels) <= before).all()


@EVERY_ROW
@BOTH_NORMS
def test_the_same_seed_gives_the_same_bits_and_leaves_the_world_alone(bars, row, norm):
    model, inputs, labels = bars
    target = Target(model, inputs, labels, ThreatModel(norm, 0.06), 3)
    kept, state = inputs.clone(), torch.random.get_rng_state()
    assert torch.equal(row.perturb(target), row.perturb(target))
    assert torch.equal(inputs, kept)
    assert torch.equal(torch.random.get_rng_state(), state)


@EVERY_ROW
def test_a_sample_costs_nothing_once_it_is_broken(wrap, row):
    w, x = two_class_line(0, 0.4, 0.6)
    steep = wrap(lambda inputs: (inputs - x) @ w + 0.01, (12,), 2,
                 OutputKind.SINGLE_LOGIT, torch.float64)  # fmt: skip
    model, count = counted(steep)
    # The first step of every row is longer than the distance of 0.01 / |w|_1.
    target = Target(model, x[None], torch.tensor([1]), ThreatModel(Norm.LINF, 0.1), 0)
    assert broken_by(row, target)
    assert count.backward <= 4


@EVERY_ROW
def test_nothing_to_do_returns_the_samples(bars, row):
    model, inputs, labels = bars
    for some, threat in [
        (slice(None), ThreatModel(Norm.L2, 0.0)),
        (slice(0, 0), ThreatModel(Norm.L2, 0.5)),
        (slice(None), ThreatModel(Norm.LINF, 0.5, Box(0.5, 0.5))),
    ]:
        counting, count = counted(model)
        target = Target(counting, inputs[some], labels[some], threat, 0)
        assert torch.equal(row.perturb(target), inputs[some])
        assert count.forward == 0


@EVERY_ROW
def test_a_model_that_ignores_its_input_or_overflows_stays_unbroken(wrap, row):
    inputs, labels = torch.full((2, 3), 0.5), torch.zeros(2, dtype=torch.int64)
    threat = ThreatModel(Norm.LINF, 0.3)
    constant = wrap(lambda x: torch.tensor([[1.0, 0.0]]).repeat(len(x), 1), (3,), 2)
    spiked = wrap(
        lambda x: torch.stack([1.0 - x[:, 0], (x[:, 0] - 0.5) * math.inf], dim=1),
        (3,),
        2,
    )
    for model in (constant, spiked):
        assert not broken_by(row, Target(model, inputs, labels, threat, 0)).any()
