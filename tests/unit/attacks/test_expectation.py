from __future__ import annotations

import pytest
import torch

from robustcert.attacks.apgd import ROWS as APGD
from robustcert.attacks.counting import counted
from robustcert.attacks.expectation import ROWS, Expected, averaged
from robustcert.attacks.interface import Target
from robustcert.attacks.square.attack import Square
from robustcert.results.norm import Norm
from robustcert.results.threat_model import ThreatModel
from robustcert.tensors import lp_norms

SIZE = 100
CLEAN = 0.6
"""The mean margin at the samples, as a share of what a perturbation of epsilon in each
coordinate takes away from it."""


@pytest.fixture
def random_model(wrap):
    """Mean margin: linear with slope 1 in each coordinate; noise has slopes of 3."""

    def build(epsilon):
        generator = torch.Generator().manual_seed(11)

        def function(x):
            slopes = 1.0 + 3.0 * torch.randn(x.shape, generator=generator)
            gap = CLEAN * epsilon * SIZE + ((x - 0.5) * slopes).sum(dim=1)
            return torch.stack([gap, torch.zeros_like(gap)], dim=1)

        return wrap(function, (SIZE,), 2)

    return build


def mean_margins(candidates, epsilon):
    return CLEAN * epsilon * SIZE + (candidates - 0.5).sum(dim=1)


def test_a_random_model_is_climbed_by_its_expectation_where_single_answers_mislead(
    random_model,
):
    epsilon = 0.1
    inputs, labels = torch.full((8, SIZE), 0.5), torch.zeros(8).long()
    threat = ThreatModel(Norm.LINF, epsilon)
    target = Target(random_model(epsilon), inputs, labels, threat, 0)
    single = mean_margins(APGD["apgd-ce"].perturb(target), epsilon)
    expected = mean_margins(ROWS["apgd-ce-eot"].perturb(target), epsilon)
    assert int((single > 0.0).sum()) >= 6
    assert (expected < 0.0).all()


def test_the_mean_of_a_model_that_is_not_random_is_the_model(bars):
    model, inputs, _ = bars
    mean = averaged(model, 4).logits(inputs)
    assert torch.allclose(mean, model.logits(inputs), atol=1e-6)


def test_the_gradient_of_the_mean_is_the_mean_gradient(wrap):
    slopes = iter([1.0, 2.0, 6.0])
    model = averaged(wrap(lambda x: next(slopes) * x, (2,), 2), 3)
    leaf = torch.tensor([[0.3, 0.4]], requires_grad=True)
    model.logits(leaf).sum().backward()
    assert leaf.grad.tolist() == [[3.0, 3.0]]


def test_every_evaluation_counts_as_a_query(bars):
    model, inputs, labels = bars
    model, queries = counted(model)
    row = Expected(Square("brief", 1), 5)
    threat = ThreatModel(Norm.LINF, 0.01)
    row.perturb(Target(model, inputs, labels, threat, 0))
    assert queries.forward == 5 * len(inputs)


@pytest.mark.parametrize("name", ["apgd-ce", "apgd-t-short", "jitter"])
def test_any_attack_can_be_averaged_and_stays_in_the_ball(bars, name):
    model, inputs, labels = bars
    row = Expected(APGD[name], 2)
    threat = ThreatModel(Norm.L2, 0.4)
    assert row.refusal(model, threat) is None
    found = row.perturb(Target(model, inputs[:4], labels[:4], threat, 0))
    sizes = lp_norms(found.double() - inputs[:4].double(), Norm.L2)
    assert float(sizes.max()) <= threat.epsilon * (1.0 + 1e-6)
    assert row.norms == APGD[name].norms
    assert row.minimal is False


def test_rows_are_called_what_they_are():
    assert {name: row.name for name, row in ROWS.items()} == {
        "apgd-ce-eot": "apgd-ce-eot"
    }
