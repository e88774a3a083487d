from __future__ import annotations

import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from robustcert.attacks.catalogue import ATTACKS
from robustcert.attacks.guest_model import (
    SPREADS,
    GuestModel,
    Layout,
    as_they_are,
    from_zero,
    temperature,
)
from robustcert.attacks.interface import Target
from robustcert.attacks.verify import fooled
from robustcert.errors import UsageError
from robustcert.results.norm import Norm
from robustcert.results.report import OutputKind
from robustcert.results.threat_model import UNIT_BOX, Box, ThreatModel


def target(model, inputs, labels, norm=Norm.LINF, epsilon=0.1, box=UNIT_BOX):
    return Target(model, inputs, labels, ThreatModel(norm, epsilon, box), seed=0)


@given(
    st.sampled_from(
        [(7,), (1,), (2, 9), (3, 8, 8), (1, 4, 4), (3, 1, 40), (2, 2, 2, 3)]
    ),
    st.sampled_from([UNIT_BOX, Box(-1.0, 1.0), Box(-3.0, 250.0)]),
)
def test_a_layout_and_back_is_the_identity_up_to_rounding(shape, box):
    layout = Layout(shape, box)
    generator = torch.Generator().manual_seed(0)
    inputs = box.low + box.width * torch.rand(2, *shape, generator=generator)
    pictures = layout.to_picture(inputs)
    assert pictures.ndim == 4
    assert pictures.dtype is torch.float32
    assert 0.0 <= pictures.min() <= pictures.max() <= 1.0
    back = layout.from_picture(pictures)
    torch.testing.assert_close(back.float(), inputs, atol=1e-6 * box.width, rtol=0)


def test_pictures_keep_their_shape_and_everything_else_becomes_a_square():
    assert Layout((3, 32, 32), UNIT_BOX).picture == (3, 32, 32)
    assert Layout((1, 28, 28), UNIT_BOX).picture == (1, 28, 28)
    assert Layout((30,), UNIT_BOX).picture == (1, 6, 6)
    assert Layout((3, 1, 100), UNIT_BOX).picture == (1, 18, 18)


@given(st.integers(0, 999), st.sampled_from([1e-4, 1.0, 1e3, 1e6]))
def test_what_the_guest_sees_has_a_spread_that_softmax_can_use(seed, scale):
    logits = scale * torch.randn(5, 6, generator=torch.Generator().manual_seed(seed))
    shown = temperature(logits) * logits
    low, high = SPREADS
    spread = (shown.amax(dim=1) - shown.amin(dim=1)).median()
    assert low * 0.999 <= spread <= high * 1.001


def test_equal_logits_are_left_alone():
    assert temperature(torch.ones(3, 4)) == 1.0


def test_logits_from_zero_keep_their_differences():
    logits = torch.tensor([[-3.0, -1.0, -2.0]])
    assert from_zero(logits).tolist() == [[0.0, 2.0, 1.0]]


def test_the_guests_gradient_is_the_models(bars):
    model, inputs, labels = bars
    guest = GuestModel(
        target(model, inputs, labels), Layout((1, 8, 8), UNIT_BOX), as_they_are
    )
    ours, theirs = (inputs.clone().requires_grad_() for _ in range(2))
    model.logits(ours).square().sum().backward()
    guest(theirs).square().sum().backward()
    torch.testing.assert_close(theirs.grad, guest.scale**2 * ours.grad)


def test_the_guests_gradient_respects_the_box(wrap):
    model = wrap(lambda x: torch.stack([x[:, 0], 3.0 * x[:, 1]], 1), (2,), 2)
    box = Box(-2.0, 6.0)
    inputs, labels = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    task = target(model, inputs, labels, box=box)
    guest = GuestModel(task, Layout((2,), box), as_they_are)
    pictures = guest.start.clone().requires_grad_()
    guest(pictures)[0, 1].backward()
    assert pictures.grad.flatten()[:2].tolist() == pytest.approx(
        [0.0, 3.0 * box.width * guest.scale]
    )
    assert pictures.grad.flatten()[2:].abs().sum() == 0.0


def test_a_guest_cannot_leave_gradients_in_the_parameters(wrap):
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 4))
    inputs = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    model = wrap(net, (1, 6, 6), 4)
    labels = model.logits(inputs).argmax(dim=1)
    for name in ("cw", "deepfool", "fab", "ead-l1"):
        ATTACKS[name].perturb(target(model, inputs, labels, Norm.L2, 0.5))
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_epsilon_is_in_the_units_of_the_declared_box(bars, wrap):
    """The same model on inputs stretched to [-1, 1]: twice the epsilon, same result."""
    model, inputs, labels = bars
    stretched = wrap(lambda x: model.function((x + 1.0) / 2.0), (1, 8, 8), 4)
    wide = Box(-1.0, 1.0)
    plain = ATTACKS["pgd"].perturb(target(model, inputs, labels, epsilon=0.1))
    other = ATTACKS["pgd"].perturb(
        target(stretched, 2.0 * inputs - 1.0, labels, epsilon=0.2, box=wide)
    )
    assert other.min() < -0.5  # where torchattacks alone would have clamped to 0
    change = (other - (2.0 * inputs - 1.0)).abs().amax()
    assert change == pytest.approx(0.2, rel=1e-5)
    assert torch.equal(fooled(model, plain, labels), fooled(stretched, other, labels))


@pytest.mark.parametrize("name", ["fab", "square-short", "apgd-ce"])
def test_tables_outside_the_unit_interval_are_attacked_in_earnest(wrap, name):
    generator = torch.Generator().manual_seed(1)
    W = torch.randn(2, 7, generator=generator)
    model = wrap(lambda x: x @ W.to(x.dtype).T, (7,), 2)
    inputs = 2.0 * torch.randn(8, 7, generator=generator).clamp(-3.0, 3.0)
    labels = model.logits(inputs).argmax(dim=1)
    box = Box(-6.0, 6.0)
    found = ATTACKS[name].perturb(target(model, inputs, labels, epsilon=3.0, box=box))
    assert fooled(model, found, labels).sum() >= 6


def test_an_iterate_that_was_adversarial_is_not_lost(wrap):
    """The loss rises with x, so BIM ends at .8; the model is wrong around .6 alone."""

    def banded(x):
        in_band = ((x[:, 0] - 0.6).abs() < 0.05).to(x.dtype)
        return torch.stack([1.0 - x[:, 0], 2.0 * in_band], 1)

    model = wrap(banded, (1,), 2)
    inputs, labels = torch.tensor([[0.5]]), torch.tensor([0])
    found = ATTACKS["bim"].perturb(target(model, inputs, labels, epsilon=0.3))
    assert 0.55 < found.item() < 0.65
    assert fooled(model, found, labels).all()


def test_cw_moves_coordinates_that_sit_on_a_face_of_the_box(wrap):
    W = torch.tensor([[-1.0, -1.0, -1.0, -1.0], [1.0, 1.0, 1.0, 1.0]])
    shift = torch.tensor([0.4, -0.4])
    model = wrap(lambda x: x @ W.to(x.dtype).T + shift.to(x.dtype), (4,), 2)
    inputs, labels = torch.zeros(1, 4), torch.tensor([0])
    found = ATTACKS["cw"].perturb(target(model, inputs, labels, Norm.L2, 0.5))
    assert fooled(model, found, labels).all()


def test_single_logits_are_attacked_from_both_sides(wrap):
    model = wrap(lambda x: x[:, :1] - 0.5, (3,), 2, OutputKind.SINGLE_LOGIT)
    inputs = torch.tensor([[0.45, 0.5, 0.5], [0.55, 0.5, 0.5]])
    labels = torch.tensor([0, 1])
    found = ATTACKS["pgd"].perturb(target(model, inputs, labels, epsilon=0.1))
    assert fooled(model, found, labels).all()


def test_without_torchattacks_the_error_says_how_to_get_it(bars, monkeypatch):
    model, inputs, labels = bars
    monkeypatch.setitem(sys.modules, "torchattacks", None)
    with pytest.raises(UsageError, match="torchattacks") as caught:
        ATTACKS["fgsm"].perturb(target(model, inputs, labels))
    assert "pip install robustcert[attacks]" in caught.value.remedy


def test_autoattack_takes_a_hundred_steps_where_torchattacks_takes_ten(bars):
    from robustcert.attacks.counting import counted

    model, inputs, labels = bars
    watched, count = counted(model)
    # Nothing can be found at this radius, so every rung runs to its end.
    rungs = [r for r in ATTACKS["autoattack"].rungs if r.name in {"apgd-ce", "apgd-t"}]
    for rung, targets in zip(rungs, (1, 3), strict=True):
        before = count.backward
        rung.perturb(target(watched, inputs[:2], labels[:2], epsilon=1e-7))
        assert count.backward - before == 2 * targets * 101
