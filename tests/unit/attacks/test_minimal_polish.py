from __future__ import annotations

import pytest
import torch

from robustcert.attacks.counting import counted
from robustcert.attacks.interface import Target
from robustcert.attacks.minimal.polish import polished
from robustcert.attacks.verify import Verification, fooled, verify
from robustcert.results.norm import Norm
from robustcert.results.threat_model import UNIT_BOX, Box, ThreatModel
from robustcert.tensors import lp_norms

BOTH = pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF])


def task(model, inputs, labels, norm, box=UNIT_BOX, epsilon=1e4):
    return Target(model, inputs, labels, ThreatModel(norm, epsilon, box), seed=0)


def examples(goal, points):
    found = verify(goal.model, points, goal.inputs, goal.labels, goal.threat)
    rows = found.passed
    return goal.subset(rows.nonzero().flatten()), found.subset(rows)


@BOTH
def test_any_example_of_a_plane_becomes_the_nearest(wrap, norm):
    w = torch.tensor([0.5, -2.0, 1.0, 0.0])
    model = wrap(lambda x: torch.stack([0.0 * x[:, 0], x @ w - 0.4], 1), (4,), 2)
    inputs = torch.full((5, 4), 0.5)
    noise = torch.rand(5, 4, generator=torch.Generator().manual_seed(0))
    noise[:, 2] = 0.6 + 0.4 * noise[:, 2]
    ends = noise * torch.tensor([1.0, 0.05, 1.0, 1.0])
    goal, found = examples(
        task(model, inputs, torch.zeros(5, dtype=torch.int64), norm), ends
    )
    assert len(found.inputs) == 5
    exact = 0.65 / lp_norms(w[None], norm.dual).item()
    ratios = polished(goal, found).distances / exact
    assert ratios.min() >= 1.0 - 1e-5
    assert ratios.max() <= 1.002


@BOTH
def test_a_face_of_the_box_is_walked_along(wrap, norm):
    """The first coordinate can do nothing: the second has to pay for it."""
    model = wrap(
        lambda x: torch.stack([0.0 * x[:, 0], 3.0 * x[:, 0] + x[:, 1] - 3.4], 1),
        (2,),
        2,
    )
    inputs, labels = torch.tensor([[1.0, 0.1]]), torch.tensor([0])
    goal, found = examples(task(model, inputs, labels, norm), torch.ones(1, 2))
    result = polished(goal, found)
    assert result.inputs[0, 0] == pytest.approx(1.0, abs=1e-6)
    assert result.distances.item() == pytest.approx(0.3, rel=0.005)


@BOTH
def test_a_nearer_class_than_the_one_that_was_reached_is_found(wrap, norm):
    W = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    b = torch.tensor([0.0, -0.9, -0.6])
    model = wrap(lambda x: x @ W.T + b, (2,), 3)
    inputs, labels = torch.tensor([[0.5, 0.5]]), torch.tensor([0])
    goal, found = examples(
        task(model, inputs, labels, norm), torch.tensor([[0.95, 0.5]])
    )
    result = polished(goal, found)
    assert result.distances.item() == pytest.approx(0.1, rel=0.005)
    assert model.logits(result.inputs).argmax() == 2


@BOTH
def test_the_nearest_point_of_a_disc_is_approached(wrap, norm):
    """The class changes inside a disc, whose boundary no hyperplane follows."""
    centre = torch.tensor([0.7, 0.4])
    model = wrap(
        lambda x: torch.stack(
            [0.0 * x[:, 0], 0.04 - (x - centre.to(x.dtype)).square().sum(1)], 1
        ),
        (2,),
        2,
    )
    inputs, labels = torch.tensor([[0.2, 0.4]]), torch.tensor([0])
    goal, found = examples(
        task(model, inputs, labels, norm), torch.tensor([[0.6, 0.55]])
    )
    before, after = found.distances.item(), polished(goal, found).distances.item()
    assert before > 0.39
    assert 0.3 * (1.0 - 1e-5) <= after <= 0.3 * 1.02


@BOTH
def test_nothing_gets_worse_and_everything_still_passes(bars, norm):
    model, inputs, labels = bars
    noise = torch.rand(inputs.shape, generator=torch.Generator().manual_seed(1))
    goal, found = examples(task(model, inputs, labels, norm), noise)
    assert len(found.inputs) > 10
    result = polished(goal, found)
    assert (result.distances <= found.distances).all()
    assert (result.distances < 0.9 * found.distances).double().mean() > 0.5
    again = verify(model, result.inputs, goal.inputs, goal.labels, goal.threat)
    assert again.passed.all()
    assert torch.equal(again.inputs, result.inputs)
    torch.testing.assert_close(again.distances, result.distances)


@BOTH
def test_an_example_without_a_gradient_is_kept(wrap, norm):
    model = wrap(
        lambda x: torch.stack([0.0 * x[:, 0], (x[:, 0] > 0.7).to(x.dtype) - 0.5], 1),
        (2,),
        2,
    )
    inputs, labels = torch.full((1, 2), 0.5), torch.tensor([0])
    goal, found = examples(
        task(model, inputs, labels, norm), torch.tensor([[0.8, 0.5]])
    )
    result = polished(goal, found)
    assert result.passed.all()
    assert result.distances <= found.distances
    assert fooled(model, result.inputs, labels).all()


def test_half_precision_and_a_wide_box_are_polished_too(wrap):
    w = torch.tensor([1.0, -2.0, 0.5]).half()
    model = wrap(
        lambda x: torch.stack([0.0 * x[:, 0], x @ w], 1), (3,), 2, dtype=torch.float16
    )
    box = Box(-4.0, 4.0)
    inputs, labels = torch.tensor([[-1.0, 1.0, 0.5]]).half(), torch.tensor([0])
    goal, found = examples(
        task(model, inputs, labels, Norm.L2, box), torch.tensor([[4.0, 1.0, 4.0]])
    )
    exact = 2.75 / float(w.float().norm())
    assert polished(goal, found).distances.item() == pytest.approx(exact, rel=0.02)


def test_no_examples_ask_no_question(linear):
    model, inputs, labels, _ = linear
    model, count = counted(model)
    goal = task(model, inputs[:0], labels[:0], Norm.L2)
    none = Verification(
        inputs[:0],
        torch.zeros(0).double(),
        torch.zeros(0).bool(),
        torch.zeros(0).bool(),
    )
    assert len(polished(goal, none).inputs) == 0
    assert (count.forward, count.backward) == (0, 0)
