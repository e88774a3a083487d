"""Operator norms against singular values of the unrolled matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robustcert.graph.execute import apply_linear
from robustcert.graph.layers import Conv
from robustcert.lipschitz.convolution_norm import (
    absolute_sums,
    convolution_norm_bound,
    torus_norm_bound,
)
from robustcert.lipschitz.matrix_norm import matrix_norm_bound, spectral_norm_bound
from robustcert.lipschitz.operator_norm import operator_norm_bound
from robustcert.results.norm import Norm
from tests.unit.lipschitz.graphs import Sketch, matrix_of

ROUNDING = 1e-9


def random_convolution(seed: int):
    """A convolution with its input shape: stride, dilation, groups, uneven padding."""
    generator = np.random.default_rng(seed)

    def pick(*choices: int) -> int:
        return choices[int(generator.integers(len(choices)))]

    dims = pick(1, 2, 2)
    groups = pick(1, 1, 2, 3)
    shape = (groups * pick(1, 2), *(pick(7, 8, 9, 10) for _ in range(dims)))
    kernel = [pick(1, 2, 3, 4) for _ in range(dims)]
    net = Sketch(*shape, seed=seed)
    weight = net.random(groups * pick(1, 2, 3), shape[0] // groups, *kernel)
    if pick(0, 0, 1):
        weight = weight.abs()  # positive kernels are largest at frequency 0
    net.conv(
        weight,
        stride=tuple(pick(1, 1, 2, 3) for _ in range(dims)),
        padding=tuple((pick(0, 1, 2, 3), pick(0, 1, 2, 3)) for _ in range(dims)),
        dilation=tuple(pick(1, 1, 2) for _ in range(dims)),
        groups=groups,
    )
    return net.layers[-1], shape


def unrolled(layer: Conv, shape) -> np.ndarray:
    size = torch.Size(shape).numel()
    basis = torch.eye(size, dtype=torch.float64).reshape(size, *shape)
    return apply_linear(layer, [basis]).flatten(1).T.numpy()


@pytest.mark.parametrize("seed", range(60))
def test_convolution_norms_enclose_those_of_the_unrolled_matrix(seed):
    layer, shape = random_convolution(seed)
    matrix = unrolled(layer, shape)
    spectral = np.linalg.norm(matrix, 2)
    rows, columns = (np.linalg.norm(matrix, order) for order in (np.inf, 1))
    exact = convolution_norm_bound(layer, shape, Norm.L2)
    assert spectral <= exact * (1 + 1e-14)
    assert exact <= spectral * (1 + ROUNDING)
    assert spectral <= torus_norm_bound(layer, shape) * (1 + 1e-14)
    sums = absolute_sums(layer, shape)
    assert sums == pytest.approx((rows, columns), rel=1e-12)
    assert convolution_norm_bound(layer, shape, Norm.LINF) >= rows * (1 - 1e-15)


def test_the_torus_is_a_few_percent_above_the_norm_on_images():
    excess = []
    for seed in range(6):
        net = Sketch(2, 16, 16, seed=seed)
        stride, kernel = ((1, 3), (2, 4))[seed % 2]
        net.conv(net.random(2, 2, kernel, kernel), stride=stride, padding=1)
        layer = net.layers[-1]
        spectral = np.linalg.norm(unrolled(layer, (2, 16, 16)), 2)
        excess.append(torus_norm_bound(layer, (2, 16, 16)) / spectral)
    assert min(excess) >= 1.0 - 1e-14
    assert max(excess) <= 1.04


def test_a_convolution_too_large_to_unroll_is_bounded_by_the_torus():
    net = Sketch(4, 56, 56, seed=3)
    net.conv(net.random(4, 4, 3, 3), padding=1)
    bound = convolution_norm_bound(net.layers[-1], (4, 56, 56), Norm.L2)
    assert bound <= torus_norm_bound(net.layers[-1], (4, 56, 56))
    small = Sketch(4, 12, 12, seed=3)
    small.conv(net.layers[-1].weight, padding=1)
    part = np.linalg.norm(unrolled(small.layers[-1], (4, 12, 12)), 2)
    assert part <= bound <= part * 1.1  # a part of the larger convolution


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel": 3, "stride": 1, "padding": 1},
        {"kernel": 3, "stride": 2, "padding": 1, "count": False},
        {"kernel": 3, "stride": 2, "padding": 1, "ceil": True},
        {"kernel": (2, 3), "stride": (1, 2), "padding": (1, 0), "ceil": True},
        {"kernel": 2, "stride": 2},
        {"kernel": 2, "stride": 3},
    ],
)
@pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF])
def test_average_pooling_norms_are_those_of_the_unrolled_matrix(settings, norm):
    net = Sketch(2, 7, 8)
    net.average(**settings)
    matrix = matrix_of(net.layers[-1], (2, 7, 8)).numpy()
    truth = np.linalg.norm(matrix, 2 if norm is Norm.L2 else np.inf)
    bound = operator_norm_bound(net.layers[-1], (2, 7, 8), norm)
    assert truth * (1 - 1e-14) <= bound <= truth * (1 + ROUNDING)


@pytest.mark.parametrize("shape", [(1, 1), (5, 9), (9, 5), (40, 300), (200, 7)])
def test_dense_norms_enclose_singular_values_within_rounding(shape):
    matrix = Sketch(1, seed=shape[0]).random(*shape)
    for scale in (1e-200, 1.0, 1e200):
        truth = np.linalg.norm((matrix).numpy(), 2) * scale
        bound = matrix_norm_bound(matrix * scale, Norm.L2)
        assert truth * (1 - 1e-14) <= bound <= truth * (1 + ROUNDING)


def test_nearly_equal_and_wildly_scaled_singular_values_stay_enclosed():
    for spread in (0.0, 1e-15, 1e-8, 12.0):
        values = 10.0 ** (-spread * np.linspace(0.0, 1.0, 30))
        left = np.linalg.qr(Sketch(1, seed=1).random(30, 30).numpy())[0]
        right = np.linalg.qr(Sketch(1, seed=2).random(30, 30).numpy())[0]
        bound = matrix_norm_bound(torch.tensor(left * values @ right), Norm.L2)
        assert 1.0 - 1e-14 <= bound <= 1.0 + ROUNDING


def test_blocks_are_bounded_by_their_largest():
    blocks = Sketch(1, seed=4).random(50, 6, 4)
    truth = max(np.linalg.norm(block, 2) for block in blocks.numpy())
    bound = spectral_norm_bound(blocks)
    assert truth <= bound <= truth * (1 + ROUNDING)
    assert spectral_norm_bound(blocks, floor=2 * truth) == pytest.approx(2 * truth)
