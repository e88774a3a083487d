"""Where a net leaves its torus, values off the valid positions are not heard."""

from __future__ import annotations

import math

import pytest
import torch

from robustcert.lipschitz.lipsdp.multipliers import begin, flat
from robustcert.lipschitz.lipsdp.propagate import output_covariance
from robustcert.lipschitz.registry import UPPER_METHODS
from robustcert.lipschitz.upper.prepared import prepared_program
from robustcert.results.effort import Effort
from tests.unit.lipschitz.graphs import Sketch, problem


def residual_behind_padded_pooling(seed: int):
    """Rectifier, padded max pooling, a padded convolution and its shortcut, a logit."""
    net = Sketch(2, 6, 6, seed=seed)
    net.act()
    pooled = net.maximum(kernel=3, stride=1, padding=1)
    net.add(pooled, net.random_conv(2, padding=1))
    net.flatten()
    net.linear(net.random(1, 72))
    return net.graph()


@pytest.mark.parametrize("ends", [1, 3])
def test_units_behind_padding_count_for_nothing(ends):
    places = torch.nn.functional.pad(
        torch.arange(18).reshape(2, 3, 3), (1, 1, 1, 1), value=-1
    )
    net = Sketch(2, 3, 3)
    net.gather(places)
    for _ in range(4):
        net.act()
    net.flatten()
    matrix = net.random(ends, 50)
    net.linear(matrix)
    net.act()
    moving = matrix[:, places.flatten() >= 0]
    found = UPPER_METHODS["eclipse_fast"](problem(net.graph()), Effort.FAST).value
    truth = float(torch.linalg.matrix_norm(moving, 2))
    assert truth <= found <= truth * (1.0 + 1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_the_checker_proves_what_the_multipliers_give(seed):
    asked = problem(residual_behind_padded_pooling(seed))
    program = prepared_program(asked)
    assert program.torus
    covariance = output_covariance(program, begin(program, flat))
    square = float(torch.linalg.eigvalsh(covariance)[-1])
    found = UPPER_METHODS["eclipse_fast"](asked, Effort.FAST).value
    given = math.ldexp(math.sqrt(square), -program.exponents[-1])
    assert given <= found <= given * (1.0 + 1e-6)
