from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustcert.attacks.verify import Verification, settle, shrink, verify
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.threat_model import UNIT_BOX, Box, ThreatModel
from robustcert.tensors import lp_norms


@pytest.fixture
def threshold(wrap):
    """Class 1 above .5, class 0 below, a tie at .5 exactly."""
    return wrap(lambda x: torch.stack([0.5 - x[:, 0], x[:, 0] - 0.5], 1), (1,), 2)


def judged(model, candidate, centre=0.4, epsilon=0.2, label=0, norm=Norm.LINF):
    return verify(
        model,
        torch.tensor([[candidate]]),
        torch.tensor([[centre]]),
        torch.tensor([label]),
        ThreatModel(norm, epsilon),
    )


def test_a_true_adversarial_example_passes_with_its_distance(threshold):
    checked = judged(threshold, 0.55)
    assert checked.passed.all()
    assert checked.distances.item() == pytest.approx(0.15, abs=1e-7)


def test_a_fake_candidate_that_the_model_gets_right_is_thrown_out(threshold):
    assert not judged(threshold, 0.45).passed.any()


def test_a_candidate_outside_the_budget_is_judged_where_the_budget_ends(threshold):
    checked = judged(threshold, 0.9, epsilon=0.05)
    assert not checked.passed.any()
    assert checked.inputs.item() == pytest.approx(0.45)


def test_a_tie_is_no_misclassification(threshold):
    assert not judged(threshold, 0.5, centre=0.25, epsilon=0.25).passed.any()


def test_the_sample_itself_is_never_an_adversarial_example(threshold):
    assert not judged(threshold, 0.4, label=1).passed.any()


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_a_model_that_overflows_is_not_fooled_but_reported(wrap, odd):
    def explode(x):
        wrong = torch.stack([-torch.ones(len(x)), torch.ones(len(x))], 1)
        return wrong.masked_fill(x > 0.5, odd)

    checked = judged(wrap(explode, (1,), 2), 0.55)
    assert not checked.passed.any()
    assert not checked.finite.any()


def test_coordinates_that_are_not_numbers_become_the_samples(threshold):
    for odd in (math.nan, math.inf):
        assert judged(threshold, odd).inputs.item() == pytest.approx(0.4)


def test_each_candidate_is_judged_alone(wrap):
    """This model is wrong in company and right alone."""

    def shy(x):
        right = torch.tensor([[1.0, 0.0]]).expand(len(x), 2)
        return right if len(x) == 1 else -right

    checked = verify(
        wrap(shy, (1,), 2),
        torch.tensor([[0.5], [0.6]]),
        torch.tensor([[0.4], [0.4]]),
        torch.zeros(2, dtype=torch.int64),
        ThreatModel(Norm.LINF, 0.3),
    )
    assert not checked.passed.any()


dtypes = st.sampled_from([torch.float16, torch.float32, torch.float64])
boxes = st.sampled_from([UNIT_BOX, Box(-1.0, 1.0), Box(0.1, 0.7), Box(-300.0, 255.0)])


@given(
    st.integers(0, 2**16),
    st.floats(1e-2, 2.0),
    dtypes,
    boxes,
    st.sampled_from(THREAT_NORMS),
)
def test_stored_bits_lie_in_ball_and_box(seed, share, dtype, box, norm):
    generator = torch.Generator().manual_seed(seed)
    unit = torch.rand(4, 9, generator=generator).double()
    centres = (box.low + box.width * unit).to(dtype).clamp(box.low, box.high)
    wanted = centres.double() + box.width * torch.randn(4, 9, generator=generator)
    threat = ThreatModel(norm, share * box.width, box)
    stored = settle(wanted, centres, threat, dtype)
    assert stored.dtype is dtype
    assert (lp_norms(stored.double() - centres.double(), norm) <= threat.epsilon).all()
    assert torch.equal(stored, stored.clamp(box.low, box.high))


def test_settling_keeps_a_point_that_is_already_inside():
    centre, point = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.55, 0.47]])
    settled = settle(point, centre, ThreatModel(Norm.L2, 0.2), torch.float32)
    assert torch.equal(settled, point)


def test_shrinking_finds_the_boundary_on_the_segment(threshold):
    whole = judged(threshold, 0.6)
    smaller = shrink(
        threshold,
        whole,
        torch.tensor([[0.4]]),
        torch.tensor([0]),
        ThreatModel(Norm.LINF, 0.2),
    )
    assert 0.1 < smaller.distances.item() <= 0.1 + 0.2 / 1024 + 1e-6
    assert smaller.inputs.item() > 0.5


def test_shrinking_keeps_the_example_where_the_smaller_one_fails_alone(wrap):
    """In company this model is wrong everywhere; alone it is wrong beyond .55."""

    def shy(x):
        alone = torch.stack([0.55 - x[:, 0], x[:, 0] - 0.55], 1)
        return alone if len(x) == 1 else torch.tensor([[0.0, 1.0]]).expand(len(x), 2)

    model = wrap(shy, (1,), 2)
    centres, labels = torch.full((2, 1), 0.4), torch.zeros(2, dtype=torch.int64)
    threat = ThreatModel(Norm.LINF, 0.2)
    whole = verify(model, torch.full((2, 1), 0.6), centres, labels, threat)
    kept = shrink(model, whole, centres, labels, threat)
    assert torch.equal(kept.inputs, whole.inputs)
    assert torch.equal(kept.distances, whole.distances)


def test_nothing_to_verify_and_nothing_to_shrink_is_fine(threshold):
    none, labels = torch.zeros(0, 1), torch.zeros(0, dtype=torch.int64)
    threat = ThreatModel(Norm.L2, 0.2)
    checked = verify(threshold, none, none, labels, threat)
    assert isinstance(shrink(threshold, checked, none, labels, threat), Verification)
