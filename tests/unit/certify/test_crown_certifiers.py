"""CROWN and alpha-CROWN as certifiers: what they may and may not prove."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from robustcert.certify.crown.alpha import alpha_crown
from robustcert.certify.crown.method import crown
from robustcert.certify.interface import CertificationTask
from robustcert.certify.interval import interval
from robustcert.graph.execute import run
from robustcert.graph.extract import extract
from robustcert.models.torchscript import load_torchscript
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.threat_model import UNIT_BOX, Box
from tests.unit.certify.crown_cases import (
    graph_of,
    margins_at,
    radii_like,
    samples_of_the_balls,
    task_on,
)
from tests.unit.lipschitz.graphs import Sketch

METHODS = {"crown": crown, "alpha-crown": alpha_crown}
WIDE = Box(-100.0, 100.0)

both = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
norms = pytest.mark.parametrize("norm", THREAT_NORMS)


def matrix(rows) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def proved(method, task, radius):
    radii = radii_like(task, radius)
    return method(task.graph, task.norm).prove(task, radii).proved


@both
@norms
def test_a_linear_net_is_proved_up_to_its_exact_distance(method, norm):
    net = Sketch(6)
    net.linear(4)
    graph = net.graph()
    task = task_on(graph, norm, box=WIDE, inputs=net.random(20, 6))
    layer = graph.layers[1]
    logits = run(graph, task.inputs)
    rows = layer.weight[task.labels][:, None] - layer.weight[None]
    gaps = logits.gather(1, task.labels[:, None]) - logits
    lengths = torch.linalg.vector_norm(rows, ord=norm.dual.value, dim=2)
    exact = (gaps / lengths).nan_to_num(nan=math.inf).amin(dim=1)
    certifier = method(graph, norm)
    assert certifier.prove(task, exact * (1.0 - 1e-9)).proved.all()
    assert not certifier.prove(task, exact * (1.0 + 1e-9)).proved.any()


@both
@norms
@pytest.mark.parametrize("name", ["mlp", "conv", "residual", "max pool", "gelu tanh"])
def test_nothing_is_proved_where_a_sampled_point_is_classified_otherwise(
    method, norm, name
):
    task = task_on(graph_of(name), norm, count=12)
    for radius in (0.05, 0.5, 2.0):
        points = samples_of_the_balls(task, radii_like(task, radius), count=300)
        broken = (margins_at(task, points) <= 0.0).any(dim=1)
        assert not (proved(method, task, radius) & broken).any()


@norms
@pytest.mark.parametrize("name", ["mlp", "conv", "silu", "concat"])
def test_alpha_crown_proves_all_that_crown_does_and_crown_all_that_intervals_do(
    norm, name
):
    task = task_on(graph_of(name), norm, count=12)
    most = radii_like(task, 1.0)
    plain = interval(task.graph, norm).radii(task, most) * 0.999
    linear = crown(task.graph, norm).radii(task, most)
    assert (linear >= plain).all()
    radii = linear * 0.999
    assert alpha_crown(task.graph, norm).prove(task, radii).proved.all()


def test_searched_slopes_prove_what_crown_cannot():
    task = task_on(graph_of("mlp"), Norm.LINF, count=24)
    most = radii_like(task, 1.0)
    plain = crown(task.graph, Norm.LINF).radii(task, most)
    searched = alpha_crown(task.graph, Norm.LINF).radii(task, most)
    assert (searched >= 0.998 * plain).all()
    assert (searched > 1.01 * plain).any()


@norms
@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_without_time_alpha_crown_proves_what_crown_proves(norm, name):
    task = task_on(graph_of(name), norm, count=12)
    most = radii_like(task, 1.0)
    radii = alpha_crown(task.graph, norm).radii(task, most) * 0.999
    plain = crown(task.graph, norm).prove(task, radii).proved
    searching = alpha_crown(task.graph, norm)
    assert searching.prove(task, radii, seconds=600.0).proved.sum() > plain.sum()
    assert torch.equal(searching.prove(task, radii, seconds=0.0).proved, plain)


@both
@norms
def test_a_batch_is_judged_as_its_samples_are_alone(method, norm):
    task = task_on(graph_of("conv strided"), norm, count=9)
    radii = torch.linspace(0.01, 0.4 if norm is Norm.LINF else 4.0, 9).double()
    certifier = method(task.graph, norm)
    together = certifier.prove(task, radii).proved
    alone = [
        certifier.prove(task.rows(i, i + 1), radii[i : i + 1]).proved.item()
        for i in range(9)
    ]
    assert together.tolist() == alone
    assert 0 < sum(alone) < 9


@both
@norms
def test_at_radius_zero_all_margins_above_the_slack_are_proved(method, norm):
    task = task_on(graph_of("residual"), norm, count=6)
    margins = margins_at(task, task.inputs)[:, 0]
    slack = margins.median().expand(6).clone()
    strict = CertificationTask(
        task.graph, task.inputs, task.labels, norm, task.box, slack
    )
    clear = (margins - slack).abs() > 1e-9
    found = proved(method, strict, 0.0)
    assert (found == (margins > slack))[clear].all()


@both
@norms
def test_a_box_without_width_leaves_the_input_alone(method, norm):
    net = Sketch(3)
    net.linear(5)
    net.act()
    net.linear(3)
    inputs = torch.full((1, 3), 0.5, dtype=torch.float64)
    task = task_on(net.graph(), norm, box=Box(0.5, 0.5), inputs=inputs)
    assert proved(method, task, 10.0).all()


@both
@norms
def test_a_tie_is_never_proved(method, norm):
    net = Sketch(2)
    net.linear(torch.eye(2, dtype=torch.float64))
    task = task_on(net.graph(), norm, inputs=matrix([[0.5, 0.5]]))
    assert not proved(method, task, 0.0).any()


@both
@norms
@pytest.mark.parametrize("shift", [0.3, -0.3])
def test_one_logit_is_proved_up_to_its_zero(method, norm, shift):
    net = Sketch(1)
    net.linear(matrix([[1.0], [-1.0]]))
    net.act()  # relu(x) - relu(-x) = x
    net.linear(matrix([[1.0, -1.0]]))
    task = task_on(net.graph(), norm, box=WIDE, inputs=matrix([[shift]]))
    assert task.labels.item() == (shift > 0.0)
    assert proved(method, task, 0.1499).all()
    assert not proved(method, task, 0.3001).any()


@both
def test_layers_of_one_unit_are_exact(method):
    net = Sketch(1)
    for _ in range(4):
        net.linear(matrix([[2.0]]), matrix([0.5]))
        net.act()
    net.linear(matrix([[1.0]]), matrix([-1.0]))
    task = task_on(net.graph(), Norm.LINF, inputs=matrix([[0.5]]))
    # 16 x + 7.5 - 1 for x >= 0: positive on the whole box
    assert task.labels.item() == 1
    assert proved(method, task, 1.0).all()


@both
@norms
@pytest.mark.parametrize("scale", [1e-120, 1e-30, 1e30, 1e120])
def test_the_scale_of_the_weights_does_not_matter(method, norm, scale):
    def net(factor):
        sketch = Sketch(4)
        sketch.linear(6)
        sketch.act()
        sketch.linear(3)
        first, act, last = sketch.layers[1:]
        sketch.layers[1:] = []
        sketch.linear(first.weight * factor, first.bias * factor)
        sketch.act(act.activation)
        sketch.linear(last.weight, last.bias * factor)
        return sketch.graph()

    inputs = torch.linspace(-1.0, 1.0, 64, dtype=torch.float64).reshape(16, 4)
    plain = task_on(net(1.0), norm, box=WIDE, inputs=inputs)
    scaled = task_on(net(scale), norm, box=WIDE, inputs=inputs)
    assert torch.equal(plain.labels, scaled.labels)
    radii = torch.linspace(0.0, 8.0, 16, dtype=torch.float64)
    first = crown(plain.graph, norm).prove(plain, radii).proved
    found = method(scaled.graph, norm).prove(scaled, radii).proved
    assert 0 < first.sum() < 16
    if method is crown:
        assert torch.equal(first, found)
    else:  # a search in float32 may fail, and then does no harm
        assert (found >= first).all()


@both
@norms
@pytest.mark.parametrize("spoilt", [math.nan, math.inf, 1e308])
def test_numbers_that_are_none_prove_nothing(method, norm, spoilt):
    net = Sketch(2)
    net.linear(matrix([[1.0, 0.0], [spoilt, 1.0]]), matrix([0.0, 0.0]))
    net.act()
    net.linear(matrix([[9.0, 1e10], [0.0, 0.0]]), matrix([5.0, 0.0]))
    graph = net.graph()
    labels, slack = torch.tensor([0]), torch.zeros(1, dtype=torch.float64)
    inputs = matrix([[0.5, 0.5]])
    task = CertificationTask(graph, inputs, labels, norm, UNIT_BOX, slack)
    assert not proved(method, task, 0.1).any()


@both
@norms
@pytest.mark.parametrize("large", [1e8, 1e17])
def test_margins_that_rounding_makes_up_are_not_proved(method, norm, large):
    """relu(c x) - relu(c x + 1) + 1/2 is -1/2; float32, then float64, say +1/2."""
    net = Sketch(1)
    net.linear(matrix([[large], [large]]), matrix([0.0, 1.0]))
    net.act()
    net.linear(matrix([[1.0, -1.0]]), matrix([0.5]))
    graph, inputs = net.graph(), matrix([[0.5]])
    dtype = torch.float32 if large < 1e16 else torch.float64
    assert run(graph.to(dtype), inputs.to(dtype)).item() == 0.5
    slack = torch.zeros(1, dtype=torch.float64)
    task = CertificationTask(graph, inputs, torch.tensor([1]), norm, UNIT_BOX, slack)
    assert not proved(method, task, 0.0).any()
    assert not proved(method, task, 1e-9).any()


@both
@norms
def test_a_wrong_label_is_never_proved(method, norm):
    task = task_on(graph_of("mlp"), norm, count=6)
    wrong = (task.labels + 1) % 4
    other = CertificationTask(
        task.graph, task.inputs, wrong, norm, task.box, task.slack
    )
    assert not proved(method, other, 0.0).any()
    assert (method(task.graph, norm).radii(other, radii_like(other, 1.0)) == 0.0).all()


@pytest.mark.data
@norms
def test_a_provably_trained_net_is_certified_as_published(trained, norm):
    archive = (trained / "models" / "mnist_conv_kw.ts.pt").read_bytes()
    graph = extract(load_torchscript(archive, input_shape=(1, 28, 28)))
    with np.load(trained / "samples" / "mnist_test.npz") as file:
        inputs = torch.tensor(file["inputs"][:20]).double() / 255.0
        labels = torch.tensor(file["labels"][:20]).long()
    slack = torch.zeros(20, dtype=torch.float64)
    task = CertificationTask(graph, inputs, labels, norm, UNIT_BOX, slack)
    radius = 0.1 if norm is Norm.LINF else 0.15
    assert proved(crown, task, radius).sum() >= 18
