"""Certified radii against exact truths."""

from __future__ import annotations

import math

import pytest
import torch

from robustcert.certify.interface import CertificationTask
from robustcert.certify.logits import binary_as_pair
from robustcert.certify.registry import AT_ONCE, CERTIFIERS, FREE, ORACLES
from robustcert.certify.rounding import float_slack
from robustcert.errors import UnsupportedLayerError
from robustcert.graph.execute import run
from robustcert.graph.extract import extract
from robustcert.graph.layers import Input, Layer, LayerGraph, Linear
from robustcert.models.torchscript import load_torchscript
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.threat_model import UNIT_BOX, Box
from tests.models import nets

NAMES = [name for name in CERTIFIERS if name not in ORACLES]
QUICK = [name for name in NAMES if name in FREE]
WIDE = Box(-100.0, 100.0)


def resolution(name):
    """How far a radius may lie below the truth: those of bisection are not exact."""
    return 1e-6 if name in AT_ONCE else 0.02


def linear_graph(weight: torch.Tensor, bias: torch.Tensor) -> LayerGraph:
    start = Input("input", (), (weight.shape[1],))
    return LayerGraph((start, Linear("head", (0,), (len(weight),), weight, bias)))


def radii(name, task):
    most = torch.full_like(task.slack, math.inf)
    return CERTIFIERS[name](task.graph, task.norm).radii(task, most)


def task_for(graph, inputs, labels, norm, box=WIDE):
    slack = torch.zeros(len(inputs), dtype=torch.float64)
    return CertificationTask(graph, inputs, labels, norm, box, slack)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_the_radius_of_a_linear_classifier_is_its_exact_distance(name, norm):
    g = torch.Generator().manual_seed(5)
    W = torch.randn(4, 6, generator=g, dtype=torch.float64)
    b = torch.randn(4, generator=g, dtype=torch.float64)
    x = torch.randn(20, 6, generator=g, dtype=torch.float64)
    logits = x @ W.T + b
    labels = logits.argmax(1)
    rows = W[labels][:, None] - W[None]
    gaps = logits.gather(1, labels[:, None]) - logits
    lengths = torch.linalg.vector_norm(rows, ord=norm.dual.value, dim=2)
    exact = (gaps / lengths).nan_to_num(nan=math.inf).amin(1)
    radius = radii(name, task_for(linear_graph(W, b), x, labels, norm))
    assert (radius <= exact).all()
    torch.testing.assert_close(radius, exact, rtol=resolution(name), atol=0.0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_a_misclassified_sample_is_never_certified(name, norm):
    W = torch.eye(2, dtype=torch.float64)
    x = torch.tensor([[0.2, 0.7]], dtype=torch.float64)
    graph = linear_graph(W, torch.zeros(2, dtype=torch.float64))
    assert radii(name, task_for(graph, x, torch.tensor([0]), norm)).item() == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_a_tie_is_never_certified(name):
    W = torch.eye(2, dtype=torch.float64)
    x = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    graph = linear_graph(W, torch.zeros(2, dtype=torch.float64))
    task = task_for(graph, x, torch.tensor([0]), Norm.L2)
    assert radii(name, task).item() == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_classifier_is_certified_on_the_whole_box(name):
    W = torch.zeros(2, 3, dtype=torch.float64)
    b = torch.tensor([1.0, 0.0], dtype=torch.float64)
    x = torch.full((1, 3), 0.5, dtype=torch.float64)
    task = task_for(linear_graph(W, b), x, torch.tensor([0]), Norm.LINF, UNIT_BOX)
    assert radii(name, task).item() == 1.0


@pytest.mark.parametrize("name", NAMES)
def test_the_margin_counts_only_above_the_slack(name):
    W = torch.eye(2, dtype=torch.float64)
    x = torch.tensor([[0.6, 0.5]], dtype=torch.float64)
    graph = linear_graph(W, torch.zeros(2, dtype=torch.float64))
    whole = task_for(graph, x, torch.tensor([0]), Norm.LINF)
    half = CertificationTask(
        graph, x, torch.tensor([0]), Norm.LINF, WIDE, torch.tensor([0.05]).double()
    )
    assert radii(name, whole).item() == pytest.approx(0.05, rel=resolution(name))
    assert radii(name, half).item() == pytest.approx(0.025, rel=resolution(name))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("norm", THREAT_NORMS)
@pytest.mark.parametrize("label", [0, 1])
def test_one_logit_is_certified_by_its_distance_from_zero(name, norm, label):
    W = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    x = torch.tensor([[0.1, 0.1]], dtype=torch.float64) * (2 * label - 1)
    graph = linear_graph(W, torch.zeros(1, dtype=torch.float64))
    radius = radii(name, task_for(graph, x, torch.tensor([label]), norm))
    exact = 0.7 / (5.0 if norm is Norm.L2 else 7.0)
    assert radius.item() == pytest.approx(exact, rel=resolution(name))
    assert radius.item() <= exact


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("norm", THREAT_NORMS)
@pytest.mark.parametrize("net", nets.IMAGE_NETS)
def test_no_perturbation_inside_the_radius_changes_the_class(name, norm, net):
    """Random and gradient-guided perturbations at 99.99 % of each certified radius."""
    model = load_torchscript(
        nets.scripted(nets.settled(nets.IMAGE_NETS[net]())), input_shape=nets.IMAGE
    )
    graph = extract(model)
    g = torch.Generator().manual_seed(11)
    x = torch.rand(6, *nets.IMAGE, generator=g, dtype=torch.float64)
    logits = model.logits(x).detach()
    labels = logits.argmax(1)
    slack = float_slack(binary_as_pair(run(graph, x)), logits)
    task = CertificationTask(graph, x, labels, norm, UNIT_BOX, slack)
    radius = radii(name, task)
    for seed in range(20):
        step = directions(model, x, labels, norm, seed)
        size = (radius * 0.9999).reshape(-1, 1, 1, 1)
        moved = (x + step * size).clamp(0.0, 1.0)
        assert (model.logits(moved).argmax(1) == labels)[radius > 0].all()


def directions(model, x, labels, norm, seed):
    """Unit steps towards other classes (even seeds) or anywhere (odd seeds)."""
    g = torch.Generator().manual_seed(seed)
    if seed % 2:
        raw = torch.randn(x.shape, generator=g, dtype=torch.float64)
    else:
        moving = x.clone().float().requires_grad_()
        logits = model.logits(moving)
        other = (labels + 1 + seed // 2) % logits.shape[1]
        gap = logits.gather(1, other[:, None]) - logits.gather(1, labels[:, None])
        raw = torch.autograd.grad(gap.sum(), moving)[0].double()
    if norm is Norm.LINF:
        return raw.sign()
    return raw / raw.flatten(1).norm(dim=1).clamp(min=1e-12).reshape(-1, 1, 1, 1)


class Mystery(Layer):
    """A layer kind that no certifier has heard of."""


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_without_a_rule_is_refused_by_name(name):
    start = Input("input", (), (2,))
    odd = Mystery("odd", (0,), (2,))
    W = torch.eye(2, dtype=torch.float64)
    graph = LayerGraph((start, odd, Linear("head", (1,), (2,), W, None)))
    task = task_for(graph, torch.rand(1, 2).double(), torch.tensor([0]), Norm.L2)
    with pytest.raises(UnsupportedLayerError, match="odd"):
        radii(name, task)


def test_float32_rounding_stays_far_inside_the_slack():
    net = nets.settled(nets.mlp(128, 200, 200, 200, 10)).eval()
    x = torch.rand(64, 128, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        single = net(x)
        double = net.double()(x.double())
    error = (single.double() - double).abs().amax(1)
    assert (error * 8 <= float_slack(double, single)).all()


def test_a_net_whose_large_numbers_cancel_gets_a_slack_that_fits_it():
    """1e6 x - 1e6 x + x: the logits are small, their float32 rounding is not."""
    x = torch.rand(64, 1, generator=torch.Generator().manual_seed(3))
    running = (x * 1e6 + x) - x * 1e6
    exact = x.double()
    error = (running.double() - exact).abs().amax()
    assert error > 1e-3
    assert (float_slack(exact, running) >= 8 * error).all()
