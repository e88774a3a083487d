from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustcert.attacks.minimal.hyperplane import steps_onto
from robustcert.results.norm import Norm
from robustcert.results.threat_model import UNIT_BOX, Box
from robustcert.tensors import lp_norms

NORMS = st.sampled_from([Norm.L2, Norm.LINF])


def by_bisection(points, normals, gains, norm, box):
    """The same steps, found by halving the multiplier 200 times."""
    w = normals * gains.sign()[:, None]
    room = torch.where(w > 0, box.high - points, points - box.low)
    speed = w.abs() if norm is Norm.L2 else w.sign().abs()
    low, high = torch.zeros(len(w)).double(), torch.full((len(w),), 1e6).double()
    for _ in range(200):
        middle = (low + high) / 2
        moved = torch.minimum(middle[:, None] * speed, room)
        enough = (w.abs() * moved).sum(1) >= gains.abs()
        high, low = middle.where(enough, high), low.where(enough, middle)
    return w.sign() * torch.minimum(high[:, None] * speed, room)


def task(seed, size, box):
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(6, size, generator=generator).double()
    normals = torch.randn(6, size, generator=generator).double()
    gains = torch.randn(6, generator=generator).double() * box.width
    return box.low + box.width * points, normals, gains


@given(st.integers(0, 9999), st.integers(1, 30), NORMS, st.sampled_from([1.0, 255.0]))
def test_a_step_is_the_one_bisection_finds(seed, size, norm, width):
    box = Box(-width / 2, width / 2)
    points, normals, gains = task(seed, size, box)
    steps = steps_onto(points, normals, gains, norm, box)
    exact = by_bisection(points, normals, gains, norm, box)
    torch.testing.assert_close(steps, exact, atol=1e-8 * width, rtol=1e-8)


@given(st.integers(0, 9999), NORMS)
def test_a_step_stays_in_the_box_and_reaches_the_hyperplane_where_it_can(seed, norm):
    points, normals, gains = task(seed, 9, UNIT_BOX)
    steps = steps_onto(points, normals, gains, norm, UNIT_BOX)
    ends = points + steps
    assert ends.min() >= -1e-12
    assert ends.max() <= 1.0 + 1e-12
    gained = (normals * steps).sum(1)
    w = normals * gains.sign()[:, None]
    most = torch.maximum(w * (1.0 - points), -w * points).sum(1)
    wanted = torch.minimum(gains.abs(), most) * gains.sign()
    torch.testing.assert_close(gained, wanted)


@pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF])
def test_without_faces_in_the_way_the_length_is_the_gain_over_the_dual_norm(norm):
    points, normals, gains = task(0, 7, UNIT_BOX)
    far = Box(-1e6, 1e6)
    steps = steps_onto(points, normals, gains, norm, far)
    lengths = gains.abs() / lp_norms(normals, norm.dual)
    torch.testing.assert_close(lp_norms(steps, norm), lengths)


@pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF])
@pytest.mark.parametrize("scale", [1e-30, 1e-10, 1e20])
def test_steps_do_not_depend_on_the_scale_of_normals_and_gains(norm, scale):
    points, normals, gains = (part.float() for part in task(3, 20, UNIT_BOX))
    plain = steps_onto(points, normals, gains, norm, UNIT_BOX)
    scaled = steps_onto(points, scale * normals, scale * gains, norm, UNIT_BOX)
    torch.testing.assert_close(scaled, plain, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF])
def test_a_normal_of_zero_asks_for_no_step(norm):
    points = torch.full((1, 2, 2), 0.5)
    steps = steps_onto(points, torch.zeros(1, 2, 2), torch.ones(1), norm, UNIT_BOX)
    assert torch.equal(steps, torch.zeros(1, 2, 2))


def test_coordinates_at_their_face_leave_the_way_to_the_others():
    points = torch.tensor([[1.0, 0.5]])
    steps = steps_onto(
        points, torch.tensor([[5.0, 1.0]]), torch.tensor([0.25]), Norm.L2, UNIT_BOX
    )
    assert steps[0].tolist() == pytest.approx([0.0, 0.25])
