"""The wrapper of decision region quantification, on models whose regions are known."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robustcert.attacks.decision_region import (
    DecisionRegion,
    Neighbourhood,
    class_margins,
)
from robustcert.attacks.engine import run_attacks
from robustcert.attacks.slope import slope
from robustcert.errors import UnsupportedLayerError, UsageError
from robustcert.graph.extract import extract
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.report import OutputKind
from robustcert.results.threat_model import UNIT_BOX, Box, ThreatModel, ThreatSweep
from robustcert.tensors import margins, project

WIDE = Box(-100.0, 100.0)


def around(reach, norm=Norm.L2, box=UNIT_BOX, **settings):
    return Neighbourhood(ThreatModel(norm, reach, box), **settings)


def half_plane(wrap, slope=4.0):
    """Class 1 iff the first coordinate is positive; probabilities leave 1/2 slowly."""
    return wrap(lambda x: torch.stack([-slope * x[:, 0], slope * x[:, 0]], 1), (2,), 2)


@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_far_from_its_boundary_a_linear_classifier_keeps_its_classes(linear, norm):
    model, inputs, labels, W = linear
    others = W[labels][:, None, :] - W[None, :, :]
    slopes = torch.linalg.vector_norm(others, ord=norm.dual.value, dim=2)
    gaps = -class_margins(model.logits(inputs)).scatter(1, labels[:, None], -torch.inf)
    distances = (gaps / slopes).scatter(1, labels[:, None], torch.inf).amin(dim=1)
    far = distances > 4.0 * (reach := float(distances.median()) / 4.0)
    assert far.sum() >= 4
    wrapped = DecisionRegion(model, around(reach, norm)).as_model()
    assert torch.equal(wrapped.logits(inputs).argmax(1)[far], labels[far])


@pytest.mark.parametrize("norm", THREAT_NORMS)
@pytest.mark.parametrize("depth", [0.5, 1.0])
def test_two_linear_classes_gain_the_same(wrap, norm, depth):
    """Each is explored ``reach`` away and quantified on the way back."""
    model, reach = half_plane(wrap), 0.3
    inputs = torch.tensor([[-0.6, 0.2], [-0.1, -3.0], [0.02, 1.0], [0.7, 0.0]])
    region = DecisionRegion(model, around(reach, norm, WIDE, steps=20, depth=depth))
    gained = 8.0 * (1.0 - depth) * reach
    expected = class_margins(model.logits(inputs)) + gained
    assert torch.allclose(region(inputs), expected, atol=1e-4)


def pocketed(wrap):
    """Class 0 everywhere but in a pocket of half-width .05 about 0, and beyond 1."""

    def function(x):
        place = x[:, 0]
        inside = torch.maximum(0.05 - place.abs(), place.abs() - 1.0)
        return torch.stack([-60.0 * inside, 60.0 * inside], 1)

    return wrap(function, (1,), 2)


def test_a_narrow_pocket_of_a_wrong_class_does_not_survive(wrap):
    model = pocketed(wrap)
    inputs = torch.tensor([[0.0], [0.03], [-0.02], [0.3], [1.6], [-1.7]])
    assert model.logits(inputs).argmax(1).tolist() == [1, 1, 1, 0, 1, 1]
    region = DecisionRegion(model, around(0.2, box=WIDE, steps=20))
    assert region(inputs).argmax(1).tolist() == [0, 0, 0, 0, 1, 1]


def test_a_reach_of_0_changes_nothing(bars):
    model, inputs, _ = bars
    wrapped = DecisionRegion(model, around(0.0)).as_model()
    assert torch.equal(wrapped.logits(inputs), class_margins(model.logits(inputs)))
    assert torch.equal(wrapped.logits(inputs).argmax(1), model.logits(inputs).argmax(1))


def above_the_diagonal(count, seed, mislabelled=0.0):
    """Points of the unit square; class 1 above the falling diagonal, mostly."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(count, 2, generator=generator)
    labels = inputs.sum(dim=1) > 1.0
    wrong = torch.rand(count, generator=generator) < mislabelled
    return inputs, (labels ^ wrong).long()


@pytest.fixture(scope="module")
def overfitted(wrap):
    """A net that has learnt its mislabelled samples by heart: they left pockets."""
    inputs, labels = above_the_diagonal(100, seed=1, mislabelled=0.15)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = nn.Sequential(
            *(nn.Linear(2, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()),
            nn.Linear(128, 2),
        )
        adam = torch.optim.Adam(net.parameters(), lr=0.01)
        for _ in range(600):
            adam.zero_grad()
            nn.functional.cross_entropy(net(inputs), labels).backward()
            adam.step()
    return wrap(net.requires_grad_(False).eval(), (2,), 2)


def accuracy(model, inputs, labels):
    return float((model.logits(inputs).argmax(1) == labels).float().mean())


def test_noise_costs_an_overfitted_net_less_accuracy(overfitted):
    inputs, labels = above_the_diagonal(400, seed=2)
    noise = torch.randn(inputs.shape, generator=torch.Generator().manual_seed(3))
    noisy = (inputs + 0.05 * noise).clamp(0.0, 1.0)
    wrapped = DecisionRegion(overfitted, around(0.1)).as_model()
    plain = accuracy(overfitted, noisy, labels)
    assert accuracy(wrapped, noisy, labels) >= plain + 0.02


def test_what_fooled_a_trained_net_often_does_not_fool_its_wrapper(bars):
    model, inputs, labels = bars
    threat = ThreatModel(Norm.LINF, 0.15, UNIT_BOX)
    points = inputs
    for _ in range(20):
        seen = slope(model.logits, points, lambda logits: -margins(logits, labels))
        points = points + 0.02 * seen.gradients.sign()
        points = project(points, inputs, threat)
    wrapped = DecisionRegion(model, around(0.2, Norm.LINF)).as_model()
    plain = accuracy(model, points, labels)
    assert plain < 0.6
    assert accuracy(wrapped, points, labels) >= plain + 0.1
    assert accuracy(wrapped, inputs, labels) == accuracy(model, inputs, labels)


def test_the_same_seed_gives_the_same_scores_and_no_global_state_moves(bars):
    model, inputs, _ = bars
    state = torch.get_rng_state()
    first, second = (
        DecisionRegion(model, around(0.1, seed=4))(inputs[:4]) for _ in range(2)
    )
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)


def test_each_input_is_scored_on_its_own(bars):
    model, inputs, _ = bars
    region = DecisionRegion(model, around(0.05, Norm.LINF))
    alone = torch.cat([region(one[None]) for one in inputs[:6]])
    assert torch.equal(region(inputs[:6]).argmax(1), alone.argmax(1))


def test_it_is_attacked_and_judged_like_any_other_model(wrap):
    wrapped = DecisionRegion(half_plane(wrap), around(0.1, steps=2)).as_model()
    assert wrapped.output is OutputKind.LOGITS
    inputs = torch.tensor([[0.04, 0.5], [0.9, 0.5]])
    labels = torch.tensor([1, 1])
    outcome = run_attacks(
        wrapped, inputs, labels, ThreatSweep(Norm.L2, (0.2,)), ["pgd-l2"]
    )
    assert len(outcome.margins) == 2
    assert (outcome.margins > 0).all()


def test_an_adversary_gets_the_gradient_of_the_scores(wrap):
    region = DecisionRegion(half_plane(wrap), around(0.1, box=WIDE))
    inputs = torch.tensor([[0.4, 0.0], [-0.3, 1.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(region(inputs)[:, 1].sum(), inputs)
    assert torch.allclose(gradient, torch.tensor([[8.0, 0.0], [8.0, 0.0]]))


def test_classes_that_are_not_explored_stay_below_those_that_are(linear):
    model, inputs, _, _ = linear
    scores = DecisionRegion(model, around(0.05, rivals=2))(inputs)
    explored = model.logits(inputs).topk(2, dim=1).indices
    least = scores.gather(1, explored).amin(dim=1, keepdim=True)
    assert scores.shape == (16, 5)
    others = scores.scatter(1, explored, -torch.inf)
    assert (others.amax(dim=1, keepdim=True) <= least).all()


def test_a_wrapper_is_another_model_and_has_no_graph(bars):
    model, _, _ = bars
    wrapped = DecisionRegion(model, around(0.1)).as_model()
    assert wrapped.sha256 != model.sha256
    assert wrapped.sha256 != DecisionRegion(model, around(0.2)).as_model().sha256
    with pytest.raises(UnsupportedLayerError, match="decision region"):
        extract(wrapped)


def test_the_wrapped_model_keeps_its_dtype_and_an_empty_batch_is_one(wrap):
    model = wrap(lambda x: torch.stack([x[:, 0], -x[:, 0]], 1), (2,), 2,
                 dtype=torch.float64)  # fmt: skip
    wrapped = DecisionRegion(model, around(0.1)).as_model()
    assert wrapped.logits(torch.rand(3, 2)).dtype == torch.float64
    assert wrapped.logits(torch.rand(0, 2)).shape == (0, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"depth": -1.0},
        {"depth": 1.5},
        {"stretch": 0.5},
        {"confidence": 0.4},
        {"confidence": 1.0},
        {"steps": 0},
        {"rivals": 1},
    ],
)
def test_a_neighbourhood_that_decides_nothing_is_refused(wrong):
    with pytest.raises(UsageError):
        around(0.1, **wrong)
