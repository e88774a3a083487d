"""Branch and bound on convolutions: rows of windows, and limits of time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from robustcert.certify.branching.build import encoded
from robustcert.certify.branching.certifier import branch_and_bound
from robustcert.certify.branching.confirm import lower_bounds
from robustcert.certify.branching.program import steepest_slopes, whole
from robustcert.certify.branching.region import region_around
from robustcert.certify.branching.weights import (
    Sparse,
    compressed,
    times,
    times_turned,
    whole_matrix,
)
from robustcert.certify.crown.alpha import alpha_crown
from robustcert.certify.interface import CertificationTask
from robustcert.graph.execute import apply, run
from robustcert.graph.extract import extract
from robustcert.models.torchscript import load_torchscript
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.threat_model import UNIT_BOX
from tests.unit.certify.crown_cases import samples_of_the_balls
from tests.unit.lipschitz.graphs import Sketch, matrix_of

norms = pytest.mark.parametrize("norm", THREAT_NORMS)
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
IMAGE = (2, 12, 12)
CLASSES = 4


def residual_net(seed=0):
    """Two convolutions, a residual block, and a linear layer."""
    net = Sketch(*IMAGE, seed=seed)
    net.random_conv(8, stride=2, padding=1)
    entry = net.act()
    net.random_conv(8, padding=1)
    net.act()
    net.add(net.random_conv(8, padding=1), entry)
    net.act()
    net.flatten()
    net.linear(CLASSES)
    return net.graph()


def as_matrices(graph):
    """The same net of flat inputs, each convolution written as its matrix."""
    net = Sketch(math.prod(graph.input_shape))
    for layer in graph.layers[1:]:
        if layer.kind == "conv":
            shape = graph.layers[layer.inputs[0]].shape
            weight = matrix_of(layer, shape)
            bias = apply(layer, [torch.zeros(1, *shape, dtype=torch.float64)])
            net.linear(weight, bias.flatten(), source=layer.inputs[0])
        elif layer.kind == "linear":
            net.linear(layer.weight, layer.bias, source=layer.inputs[0])
        elif layer.kind == "add":
            net.add(*layer.inputs)
        elif layer.kind == "elementwise":
            net.act(source=layer.inputs[0])
        else:
            net.affine(1.0, source=layer.inputs[0])
    return net.graph()


def task_for(graph, norm, inputs):
    labels = run(graph, inputs).argmax(dim=1)
    slack = torch.zeros(len(inputs), dtype=torch.float64)
    return CertificationTask(graph, inputs, labels, norm, UNIT_BOX, slack)


def images(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, *IMAGE, generator=generator, dtype=torch.float64)


def encoded_on(graph, norm, epsilon, centre, weighting):
    region = region_around(centre.flatten(), epsilon, norm, UNIT_BOX)
    return encoded(graph, region, weighting)


def windows(dtype):
    """The matrix ``(288, 288)`` of a convolution of stride 2."""
    layer = residual_net().layers[1]
    return matrix_of(layer, IMAGE).to(dtype)


def numbers(*shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(5)
    return torch.randn(shape, generator=generator, dtype=dtype)


def test_a_matrix_of_windows_is_kept_by_its_entries_and_a_full_one_as_it_is():
    matrix = windows(torch.float64)
    kept = compressed(matrix)
    assert isinstance(kept, Sparse)
    assert torch.equal(whole_matrix(kept), matrix)
    full = numbers(200, 300)
    assert compressed(full) is full
    assert compressed(kept) is kept


@dtypes
def test_products_with_entries_are_those_with_the_whole_matrix(dtype):
    matrix = windows(dtype)[:, :200].contiguous()
    kept = compressed(matrix)
    rows, values = numbers(7, 288, dtype=dtype), numbers(7, 200, dtype=dtype)
    close = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(times(rows, kept), rows @ matrix, **close)
    torch.testing.assert_close(times_turned(values, kept), values @ matrix.T, **close)


@norms
def test_a_convolution_has_the_program_of_its_matrix(norm):
    graph, weighting = residual_net(), torch.eye(CLASSES, dtype=torch.float64)
    image = images(1)[0]
    windowed = encoded_on(graph, norm, 0.05, image, weighting)
    flat = encoded_on(as_matrices(graph), norm, 0.05, image, weighting)
    assert any(isinstance(stage.direct, Sparse) for stage in windowed.program.stages)
    assert windowed.bounds.is_open.sum() > 20
    torch.testing.assert_close(windowed.bounds.low, flat.bounds.low)
    torch.testing.assert_close(windowed.bounds.high, flat.bounds.high)
    found = [
        lower_bounds(
            net.program, net.bounds, net.outputs, whole(steepest_slopes(net.bounds))
        )
        for net in (windowed, flat)
    ]
    torch.testing.assert_close(*found)


@norms
def test_a_program_of_windows_is_the_net_inside_the_ball(norm):
    graph, weighting = residual_net(), torch.eye(CLASSES, dtype=torch.float64)
    image = images(1)
    net = encoded_on(graph, norm, 0.1, image, weighting)
    task = task_for(graph, norm, image)
    radii = torch.full((1,), 0.1, dtype=torch.float64)
    points = samples_of_the_balls(task, radii, count=100)
    outputs, seen = [], []
    for stage in net.program.stages:
        seen.append(stage.values(outputs, points.flatten(1)))
        outputs.append(seen[-1].relu())
    arguments = torch.cat(seen, dim=1)
    assert (arguments >= net.bounds.low).all()
    assert (arguments <= net.bounds.high).all()
    value = net.outputs.shift
    for number, weight in net.outputs.links.items():
        value = value + outputs[number] @ weight.T
    torch.testing.assert_close(value, run(graph, points))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_coefficients_that_are_no_numbers_prove_nothing_about_windows(value):
    graph, weighting = residual_net(), torch.eye(CLASSES, dtype=torch.float64)
    net = encoded_on(graph, Norm.LINF, 0.05, images(1)[0], weighting)
    assert isinstance(net.program.stages[0].direct, Sparse)
    first = net.outputs.links[len(net.program.stages) - 1]
    first[0, 0] = value
    leaves = whole(steepest_slopes(net.bounds))
    found = lower_bounds(net.program, net.bounds, net.outputs, leaves)
    assert not found[0] > -torch.inf
    assert (found[1:] > -torch.inf).all()


@norms
def test_no_sampled_point_of_a_proved_ball_of_a_residual_net_changes_the_class(norm):
    graph = residual_net(seed=3)
    task = task_for(graph, norm, images(4, seed=3))
    certifier = branch_and_bound(graph, norm)
    count = 0
    for epsilon in (0.003, 0.02, 0.08):
        radii = torch.full_like(task.slack, epsilon)
        proof = certifier.prove(task, radii, seconds=5.0)
        points = samples_of_the_balls(task, radii, count=200)
        kept = run(graph, points).argmax(dim=1).reshape(-1, len(task)) == task.labels
        assert kept[:, proof.proved].all()
        count += int(proof.proved.sum())
    assert count


def test_building_stops_when_the_time_is_up():
    graph, weighting = residual_net(), torch.eye(CLASSES, dtype=torch.float64)
    region = region_around(images(1).flatten(), 0.05, Norm.L2, UNIT_BOX)
    asked = []

    def at_the_third_question():
        asked.append(True)
        return len(asked) >= 3

    assert encoded(graph, region, weighting, at_the_third_question) is None
    assert len(asked) == 3


def test_no_time_proves_nothing():
    graph = residual_net()
    task = task_for(graph, Norm.LINF, images(2))
    radii = torch.full_like(task.slack, 1e-3)
    certifier = branch_and_bound(graph, Norm.LINF)
    assert certifier.prove(task, radii, seconds=60.0).proved.all()
    assert not certifier.prove(task, radii, seconds=0.0).proved.any()


@pytest.mark.data
def test_splits_prove_a_residual_net_where_slopes_alone_do_not(trained):
    data = (trained / "models" / "cifar_resnet2b.ts.pt").read_bytes()
    graph = extract(load_torchscript(data))
    with np.load(trained / "samples" / "cifar10_test_200.npz") as archive:
        image, label = archive["inputs"][15:16], archive["labels"][15:16]
    x = torch.from_numpy(image).double().reshape(-1, *graph.input_shape) / 255.0
    slack = torch.full((1,), 1e-3, dtype=torch.float64)
    labels = torch.from_numpy(label).long()
    task = CertificationTask(graph, x, labels, Norm.LINF, UNIT_BOX, slack)
    radii = torch.full((1,), 1 / 255, dtype=torch.float64)
    assert run(graph, x).argmax(dim=1).equal(labels)
    assert not alpha_crown(graph, Norm.LINF).prove(task, radii).proved.any()
    assert branch_and_bound(graph, Norm.LINF).prove(task, radii, 120.0).proved.all()
