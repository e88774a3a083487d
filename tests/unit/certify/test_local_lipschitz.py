"""Radii from Lipschitz constants that hold on the ball alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from robustcert.certify.interface import CertificationTask
from robustcert.certify.lipschitz_margin import lipschitz_margin
from robustcert.certify.local_lipschitz import local_lipschitz
from robustcert.errors import UnsupportedLayerError
from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.execute import run
from robustcert.graph.extract import extract
from robustcert.graph.layers import Elementwise, Input, Layer, LayerGraph, Linear
from robustcert.models.torchscript import load_torchscript
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.threat_model import UNIT_BOX, Box
from tests.models import nets

WIDE = Box(-100.0, 100.0)
RESOLUTION = 1e-2
"""Of a radius found by bisection below 4, relative."""


def linear(weight: Tensor, bias: Tensor | None = None) -> LayerGraph:
    start = Input("input", (), (weight.shape[1],))
    return LayerGraph((start, Linear("head", (0,), (len(weight),), weight, bias)))


def read(net: torch.nn.Module, shape: tuple[int, ...]) -> LayerGraph:
    model = load_torchscript(nets.scripted(nets.settled(net)), input_shape=shape)
    return extract(model)


def task_for(graph, x, norm, box=WIDE, labels=None):
    logits = run(graph, x)
    found = logits.argmax(1) if logits.shape[1] > 1 else (logits[:, 0] > 0).long()
    slack = torch.zeros(len(x), dtype=torch.float64)
    chosen = found if labels is None else labels
    return CertificationTask(graph, x, chosen, norm, box, slack)


def radii(task):
    most = torch.full_like(task.slack, 4.0)
    return local_lipschitz(task.graph, task.norm).radii(task, most)


@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_the_radius_of_a_linear_classifier_is_its_exact_distance(norm):
    g = torch.Generator().manual_seed(5)
    W = torch.randn(4, 6, generator=g, dtype=torch.float64)
    x = torch.randn(20, 6, generator=g, dtype=torch.float64)
    task = task_for(linear(W), x, norm)
    rows = W[task.labels][:, None] - W[None]
    logits = x @ W.T
    gaps = logits.gather(1, task.labels[:, None]) - logits
    lengths = torch.linalg.vector_norm(rows, ord=norm.dual.value, dim=2)
    exact = (gaps / lengths).nan_to_num(nan=math.inf).amin(1)
    found = radii(task)
    assert (found <= exact).all()
    torch.testing.assert_close(found, exact, rtol=RESOLUTION, atol=0.0)


def test_a_ball_that_the_box_cuts_is_as_wide_as_what_is_left_of_it():
    """``x_0 - x_1`` at (.9, .2): in the box, only x_0 can fall by more than .1."""
    W = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    x = torch.tensor([[0.9, 0.2]], dtype=torch.float64)
    inside = radii(task_for(linear(-W), x, Norm.LINF, UNIT_BOX))
    assert inside.item() == pytest.approx(0.35, rel=RESOLUTION)
    edge = torch.tensor([[1.0, 0.9]], dtype=torch.float64)
    # Label 1 of -x: 1 - .9; x_0 cannot rise, x_1 can fall without end.
    rising = radii(task_for(linear(W), edge, Norm.LINF, UNIT_BOX))
    assert rising.item() == pytest.approx(0.05, rel=RESOLUTION)
    corner = torch.tensor([[0.0, 0.4]], dtype=torch.float64)
    # Label 1 loses where x_0 rises and x_1 falls; label 0 of -x likewise.
    falling = radii(task_for(linear(-W), corner, Norm.LINF, UNIT_BOX))
    assert falling.item() == pytest.approx(0.2, rel=RESOLUTION)


@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_on_one_linear_piece_the_radius_is_that_of_the_piece(norm):
    """``|x|`` against ``x / 2``: class 0 wins everywhere but at 0, where all tie."""
    kink = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    head = torch.tensor([[1.0, 1.0], [0.5, -0.5]], dtype=torch.float64)
    graph = relu_graph(kink, head)
    x = torch.tensor([[2.0]], dtype=torch.float64)
    task = task_for(graph, x, norm, Box(0.5, 3.0))
    assert radii(task).item() == pytest.approx(2.5, rel=RESOLUTION)  # the whole box
    other = task_for(graph, x, norm, Box(-3.0, 3.0))
    assert 2.0 * (1.0 - RESOLUTION) <= radii(other).item() < 2.0 + 1e-9


def relu_graph(first: Tensor, head: Tensor) -> LayerGraph:
    units = len(first)
    return LayerGraph(
        (
            Input("input", (), (first.shape[1],)),
            Linear("first", (0,), (units,), first, None),
            Elementwise("relu", (1,), (units,), Activation(ActivationKind.RELU)),
            Linear("head", (2,), (len(head),), head, None),
        )
    )


@pytest.mark.parametrize("norm", THREAT_NORMS)
@pytest.mark.parametrize("net", ["mlp", "tanh", "residual", "max pool", "conv"])
def test_no_perturbation_inside_the_radius_changes_the_class(norm, net):
    graph = read(nets.IMAGE_NETS[net](), nets.IMAGE)
    g = torch.Generator().manual_seed(3)
    x = torch.rand(3, *nets.IMAGE, generator=g, dtype=torch.float64)
    task = task_for(graph, x, norm, UNIT_BOX)
    found = radii(task)
    assert (found > 0.0).all()
    for seed in range(40):
        draw = torch.Generator().manual_seed(seed)
        step = torch.randn(x.shape, generator=draw, dtype=torch.float64)
        step = step.sign() if norm is Norm.LINF else step / flat_norm(step)
        for sign in (1.0, -1.0):
            moved = x + sign * found.reshape(-1, 1, 1, 1) * step
            logits = run(graph, moved.clamp(0.0, 1.0))
            assert (logits.argmax(1) == task.labels).all()


def flat_norm(batch: Tensor) -> Tensor:
    return batch.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)


@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_near_the_boundary_a_constant_on_the_ball_beats_the_one_on_all_inputs(norm):
    g = torch.Generator().manual_seed(1)
    first = torch.randn(30, 4, generator=g, dtype=torch.float64)
    graph = relu_graph(first, torch.randn(2, 30, generator=g, dtype=torch.float64))
    x = torch.randn(200, 4, generator=g, dtype=torch.float64)
    near = run(graph, x).diff(dim=1).abs()[:, 0].argsort()[:5]
    task = task_for(graph, x[near], norm)
    most = torch.full_like(task.slack, math.inf)
    everywhere = lipschitz_margin(graph, norm).radii(task, most)
    assert (radii(task) > 1.5 * everywhere).all()


def test_a_ball_of_radius_zero_is_proved_where_the_margin_is_above_the_slack():
    graph = linear(torch.eye(2, dtype=torch.float64))
    x = torch.tensor([[0.6, 0.5], [0.5, 0.5]], dtype=torch.float64)
    labels = torch.tensor([0, 0])
    certifier = local_lipschitz(graph, Norm.L2)
    for slack, expected in ((0.0, [True, False]), (0.2, [False, False])):
        given = torch.full((2,), slack, dtype=torch.float64)
        task = CertificationTask(graph, x, labels, Norm.L2, UNIT_BOX, given)
        zero = torch.zeros(2, dtype=torch.float64)
        assert certifier.prove(task, zero).proved.tolist() == expected


@pytest.mark.parametrize("label", [0, 1])
def test_one_logit_is_certified_by_its_distance_from_zero(label):
    W = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    x = torch.tensor([[0.1, 0.1]], dtype=torch.float64) * (2 * label - 1)
    found = radii(task_for(linear(W), x, Norm.L2))
    assert found.item() == pytest.approx(0.14, rel=RESOLUTION)


def test_without_time_nothing_is_proved():
    graph = linear(torch.eye(2, dtype=torch.float64))
    x = torch.tensor([[0.9, 0.1]], dtype=torch.float64)
    task = task_for(graph, x, Norm.L2)
    zero = torch.zeros(1, dtype=torch.float64)
    certifier = local_lipschitz(graph, Norm.L2)
    assert certifier.prove(task, zero).proved.all()
    assert not certifier.prove(task, zero, seconds=-1.0).proved.any()


class Mystery(Layer):
    """A layer kind that nothing has a rule for."""


def test_a_layer_without_a_rule_is_refused_by_name():
    start, odd = Input("input", (), (2,)), Mystery("odd", (0,), (2,))
    W = torch.eye(2, dtype=torch.float64)
    graph = LayerGraph((start, odd, Linear("head", (1,), (2,), W, None)))
    x, label = torch.rand(1, 2).double(), torch.tensor([0])
    slack = torch.zeros(1, dtype=torch.float64)
    task = CertificationTask(graph, x, label, Norm.L2, UNIT_BOX, slack)
    with pytest.raises(UnsupportedLayerError, match="odd"):
        radii(task)
