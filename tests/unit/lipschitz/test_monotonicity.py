"""Constants of maps from a space to itself, where they are known."""

from __future__ import annotations

import pytest
import torch

from robustcert.errors import UsageError
from robustcert.lipschitz.lower.data_jacobian import data_jacobian
from robustcert.lipschitz.lower.pair_ascent import pair_ascent
from robustcert.lipschitz.monotonicity import displacement, monotonicity_bound
from robustcert.results.effort import Effort
from robustcert.results.norm import Norm
from robustcert.results.threat_model import Box
from tests.unit.lipschitz.graphs import Sketch, problem


def linear_map(matrix: torch.Tensor, shape: tuple[int, ...] = (4,)) -> Sketch:
    net = Sketch(*shape)
    if len(shape) > 1:
        net.flatten()
    net.linear(matrix, torch.arange(4, dtype=torch.float64))
    return net


@pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF])
@pytest.mark.parametrize("method", [data_jacobian, pair_ascent])
@pytest.mark.parametrize("shape", [(4,), (1, 2, 2)])
def test_the_displacement_of_a_linear_map_is_that_of_identity_minus_matrix(
    norm, method, shape
):
    matrix = Sketch(4, seed=3).random(4, 4)
    truth = float(torch.linalg.matrix_norm(torch.eye(4) - matrix, norm.value))
    asked = problem(linear_map(matrix, shape).graph(), norm)
    bound = method(displacement(asked), Effort.FAST)
    assert bound.value <= truth
    assert bound.value == pytest.approx(truth, rel=1e-6)


def test_the_identity_has_no_displacement():
    asked = problem(linear_map(torch.eye(4, dtype=torch.float64)).graph())
    assert pair_ascent(displacement(asked), Effort.FAST).value <= 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_a_linear_map_is_as_monotone_as_its_symmetric_part(seed):
    matrix = Sketch(4, seed=seed).random(4, 4)
    truth = float(torch.linalg.eigvalsh((matrix + matrix.T) / 2.0)[0])
    asked = problem(linear_map(matrix).graph())
    bound = monotonicity_bound(asked, Effort.FAST)
    assert bound.value >= truth
    assert bound.value == pytest.approx(truth, abs=1e-6)
    assert bound.witness.ratio == bound.value


def test_a_rotation_by_a_right_angle_is_monotone_with_constant_zero():
    matrix = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    net = Sketch(2)
    net.linear(matrix)
    value = monotonicity_bound(problem(net.graph()), Effort.FAST).value
    assert 0.0 <= value <= 1e-9


def test_a_layer_that_turns_back_is_found_not_to_be_monotone():
    """``x - 3 relu(x)`` falls with slope 2 right of 0."""
    net = Sketch(2)
    right = net.act()
    net.add(0, right, weight=-3.0)
    value = monotonicity_bound(problem(net.graph()), Effort.FAST).value
    assert value == pytest.approx(-2.0, abs=1e-6)


def test_maps_between_different_spaces_and_boxes_of_one_point_are_refused():
    net = Sketch(4)
    net.linear(3)
    with pytest.raises(UsageError, match="4 coordinates to 3"):
        displacement(problem(net.graph()))
    square = problem(linear_map(torch.eye(4).double()).graph(), box=Box(0.5, 0.5))
    with pytest.raises(UsageError, match="no two points"):
        monotonicity_bound(square, Effort.FAST)
