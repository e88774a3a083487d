"""Pairs of inputs and the quotients between them."""

from __future__ import annotations

import pytest
import torch

from robustcert.errors import SamplesError, UnsoundModelError
from robustcert.results.threat_model import UNIT_BOX, Box
from robustcert.train.pairs import Pairs, noisy_pairs, quotients, sampled
from tests.unit.train.steps import linear, pictures


def test_the_quotient_of_a_linear_model_is_its_gain_along_the_pair():
    model = linear([3.0, 0.0], [0.0, 1.0])
    pairs = Pairs(
        torch.tensor([[0.5, 0.1], [0.2, 0.1]]), torch.tensor([[0.1, 0.1], [0.2, 0.9]])
    )
    found = quotients(model, pairs.joined(), UNIT_BOX)
    assert torch.allclose(found, torch.tensor([3.0, 1.0]))


def test_a_pair_of_the_same_input_twice_has_quotient_and_gradient_0():
    model = linear([3.0, 0.0], [0.0, 1.0])
    first = torch.tensor([[0.5, 0.1], [0.2, 0.1]])
    second = torch.tensor([[0.5, 0.1], [0.2, 0.9]])
    ends = Pairs(first, second).joined().requires_grad_()
    found = quotients(model, ends, UNIT_BOX)
    found.sum().backward()
    assert found.tolist() == pytest.approx([0.0, 1.0])
    assert torch.isfinite(ends.grad).all()
    assert torch.isfinite(model.weight.grad).all()
    assert not ends.grad[0].any()


def test_equal_outputs_have_finite_gradients():
    model = linear([0.0, 1.0])
    ends = torch.tensor([[0.5, 0.1], [0.2, 0.1]]).requires_grad_()
    found = quotients(model, ends, UNIT_BOX)
    found.sum().backward()
    assert found.item() == 0.0
    assert torch.isfinite(ends.grad).all()
    assert torch.isfinite(model.weight.grad).all()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_outputs_that_are_not_finite_are_refused_with_a_remedy(value):
    with pytest.raises(UnsoundModelError) as refused:
        quotients(linear([value, 1.0]), torch.rand(4, 2), UNIT_BOX)
    assert "rate" in refused.value.remedy


@pytest.mark.parametrize("box", [UNIT_BOX, Box(-2.0, 0.5)])
def test_noisy_copies_stay_in_the_box(box):
    generator = torch.Generator().manual_seed(0)
    inputs = pictures(50) * box.width + box.low
    pairs = noisy_pairs(inputs, box, 1.0, generator)
    assert torch.equal(pairs.first, inputs)
    assert pairs.second.min() >= box.low
    assert pairs.second.max() <= box.high
    assert not torch.equal(pairs.second, inputs)


def test_no_input_is_sampled_twice_while_there_are_enough():
    inputs = torch.arange(10.0)[:, None]
    drawn = sampled(inputs, 10, torch.Generator().manual_seed(0))
    assert sorted(drawn.flatten().tolist()) == inputs.flatten().tolist()
    assert len(sampled(inputs, 25, torch.Generator().manual_seed(0))) == 25


def test_pairs_need_reserved_inputs():
    with pytest.raises(SamplesError, match="reserved"):
        sampled(torch.empty(0, 3), 4, torch.Generator())
