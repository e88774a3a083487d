"""Training with interval and backward bounds, against what they must enclose."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robustcert.certify.interface import CertificationTask
from robustcert.certify.interval import margin_bounds
from robustcert.errors import (
    InvalidThreatModelError,
    SamplesError,
    UnsupportedLayerError,
    UsageError,
)
from robustcert.graph.execute import values
from robustcert.graph.fold import folded
from robustcert.results.norm import Norm
from robustcert.results.threat_model import UNIT_BOX, Box
from robustcert.train.backward_floors import backward_margin_floors
from robustcert.train.interface import Batch, Moment, Plan, TrainingData
from robustcert.train.interval import (
    CrownIntervalOptions,
    IntervalOptions,
    crown_interval_fit,
    interval_fit,
)
from robustcert.train.intervals import hidden_spans, input_span, margin_floors
from robustcert.train.lipschitz_layers import MaxMin
from robustcert.train.live import live_graph
from robustcert.train.losses import CrossEntropy
from tests.unit.train.robust_cases import (
    PLANE,
    certified_share,
    frozen_graph,
    generator,
    plane_data,
    plane_net,
    seeded,
    trained,
)

BEGIN, LATE = Moment(0, 0, 100), Moment(3, 99, 100)
IMAGE = (1, 6, 6)
EPSILON = 0.05


def rectifiers():
    return [
        nn.Conv2d(1, 3, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2, 1),
        nn.Conv2d(3, 4, 2),
        nn.LeakyReLU(0.1),
        nn.Flatten(),
        nn.Linear(4, 5),
        nn.ReLU(),
        nn.Linear(5, 4),
    ]


NETS = {
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 4)),
    "rectifiers": lambda: nn.Sequential(*rectifiers()),
    "pooling": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.Tanh(), nn.Flatten(), nn.Linear(16, 4)
    ),
    "valley": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(36, 5), nn.SiLU(), nn.Linear(5, 4), nn.GELU()
    ),
}
STRAIGHT = ("linear", "rectifiers")
"""Nets that backward bounds have rules for."""


def case(name, epsilon=EPSILON):
    """A net, its graph, inputs, labels, and the spans of its hidden layers."""
    net = seeded(NETS[name]())
    inputs = torch.rand(6, *IMAGE, generator=generator(1), dtype=torch.float64)
    labels = torch.arange(6) % 4
    graph = frozen_graph(net, IMAGE)
    spans = hidden_spans(graph, input_span(inputs, epsilon, UNIT_BOX))
    return net, graph, inputs, labels, spans


def perturbed(inputs, seed, epsilon=EPSILON):
    """Half of them corners of the ball, clipped to the box."""
    noise = torch.rand(inputs.shape, generator=generator(seed), dtype=torch.float64)
    offsets = 2.0 * noise - 1.0
    offsets[::2] = offsets[::2].sign()
    return (inputs + epsilon * offsets).clamp(0.0, 1.0)


@pytest.mark.parametrize("name", NETS)
def test_spans_enclose_every_layer_at_every_input_of_the_ball(name):
    _, graph, inputs, _, spans = case(name)
    for seed in range(50):
        for value, span in zip(
            values(graph, perturbed(inputs, seed)), spans, strict=False
        ):
            assert (value >= span.low - 1e-12).all()
            assert (value <= span.high + 1e-12).all()


@pytest.mark.parametrize("name", NETS)
def test_floors_are_those_of_the_interval_certificate(name):
    _, graph, inputs, labels, spans = case(name)
    floors = margin_floors(graph, spans, labels)
    slack = torch.zeros(6, dtype=torch.float64)
    task = CertificationTask(graph, inputs, labels, Norm.LINF, UNIT_BOX, slack)
    certified = margin_bounds(task, folded(graph), slack + EPSILON)
    lowest = floors.scatter(1, labels[:, None], torch.inf).amin(dim=1)
    torch.testing.assert_close(lowest, certified, rtol=1e-9, atol=1e-9)
    assert (floors.gather(1, labels[:, None]) == 0.0).all()


@pytest.mark.parametrize("floors_of", [margin_floors, backward_margin_floors])
@pytest.mark.parametrize("name", STRAIGHT)
def test_no_input_of_the_ball_has_a_margin_below_its_floor(name, floors_of):
    net, graph, inputs, labels, spans = case(name)
    floors = floors_of(graph, spans, labels)
    for seed in range(50):
        logits = net(perturbed(inputs, seed))
        gaps = logits.gather(1, labels[:, None]) - logits
        assert (gaps >= floors - 1e-12).all()


@pytest.mark.parametrize("floors_of", [margin_floors, backward_margin_floors])
def test_floors_of_a_linear_net_are_its_exact_worst_margins(floors_of):
    net, graph, inputs, labels, _ = case("linear")
    inputs = 0.2 + 0.6 * inputs  # no ball leaves the box
    spans = hidden_spans(graph, input_span(inputs, EPSILON, UNIT_BOX))
    W, logits = net[1].weight, net(inputs)
    lengths = (W[labels][:, None] - W).abs().sum(dim=2)
    exact = logits.gather(1, labels[:, None]) - logits - EPSILON * lengths
    torch.testing.assert_close(floors_of(graph, spans, labels), exact)


def test_backward_floors_of_a_rectifier_are_the_lines_of_crown():
    # f_0 - f_1 = relu(x) - 1/2 relu(-x) on [-1, 2]: the line below relu(x) is x, since
    # 2 > 1; the chord above relu(-x) is (2 - x) / 3.
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        net[2].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.5]]))
        net[0].bias.zero_()
        net[2].bias.zero_()
    graph, centre = frozen_graph(net, (1,)), torch.tensor([[0.5]]).double()
    spans = hidden_spans(graph, input_span(centre, 1.5, Box(-9.0, 9.0)))
    floors = backward_margin_floors(graph, spans, torch.tensor([0]))
    # x - (2 - x) / 6 at x = -1
    assert floors[0].tolist() == pytest.approx([0.0, -1.5])


@pytest.mark.parametrize("name", STRAIGHT)
@pytest.mark.parametrize("floors_of", [margin_floors, backward_margin_floors])
def test_floors_are_differentiated_as_they_change(name, floors_of):
    net, _, inputs, labels, _ = case(name)
    parameters = list(net.parameters())

    def total():
        graph = live_graph(net, IMAGE)
        spans = hidden_spans(graph, input_span(inputs, EPSILON, UNIT_BOX))
        return floors_of(graph, spans, labels).sum()

    gradients = torch.autograd.grad(total(), parameters)
    g = generator(8)
    steps = [
        1e-6 * torch.randn(p.shape, generator=g, dtype=torch.float64)
        for p in parameters
    ]
    ends = []
    with torch.no_grad():
        for times in (1.0, -2.0):
            for parameter, step in zip(parameters, steps, strict=True):
                parameter += times * step
            ends.append(total())
    change = ends[0] - ends[1]
    expected = sum((d * s).sum() for d, s in zip(gradients, steps, strict=True))
    torch.testing.assert_close(change, 2.0 * expected, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("name", STRAIGHT)
def test_a_ball_of_radius_0_has_floors_at_the_margins_and_finite_gradients(name):
    net, _, inputs, labels, _ = case(name)
    graph = live_graph(net, IMAGE)
    spans = hidden_spans(graph, input_span(inputs, 0.0, UNIT_BOX))
    floors = backward_margin_floors(graph, spans, labels)
    logits = net(inputs)
    torch.testing.assert_close(floors, logits.gather(1, labels[:, None]) - logits)
    gradients = torch.autograd.grad(
        floors.sum(), list(net.parameters()), allow_unused=True
    )
    assert all(g.isfinite().all() for g in gradients if g is not None)


FITS = {
    "interval": (interval_fit, IntervalOptions),
    "crown-interval": (crown_interval_fit, CrownIntervalOptions),
}


@pytest.mark.parametrize("name", FITS)
def test_the_first_step_is_plain_cross_entropy(name):
    make, options = FITS[name]
    net, data = plane_net(), plane_data()
    fitted = make(net, data, options(), Plan())(net, data.training, BEGIN)
    plain = CrossEntropy()(net, data.training, BEGIN)
    torch.testing.assert_close(fitted.loss, plain.loss)
    torch.testing.assert_close(fitted.outputs, plain.outputs)


def test_at_the_end_the_loss_is_the_stated_mean_of_both_cross_entropies():
    net, data, epsilon = plane_net(), plane_data(), 0.2
    batch = data.training
    options = IntervalOptions(epsilon, 0.5, clean=0.25)
    fitted = interval_fit(net, data, options, Plan())(net, batch, LATE)
    graph = frozen_graph(net, (2,))
    spans = hidden_spans(graph, input_span(batch.inputs, epsilon, PLANE))
    worst = F.cross_entropy(-margin_floors(graph, spans, batch.targets), batch.targets)
    plain = F.cross_entropy(net(batch.inputs), batch.targets)
    torch.testing.assert_close(fitted.loss, 0.25 * plain + 0.75 * worst)


@pytest.mark.parametrize("backward", [0.0, 0.4, 1.0])
def test_crown_interval_blends_both_kinds_of_floors(backward):
    net, data, epsilon = plane_net(), plane_data(), 0.2
    batch = data.training
    options = CrownIntervalOptions(epsilon, 0.5, clean=0.0, backward=backward)
    fitted = crown_interval_fit(net, data, options, Plan())(net, batch, LATE)
    graph = frozen_graph(net, (2,))
    spans = hidden_spans(graph, input_span(batch.inputs, epsilon, PLANE))
    floors = (1.0 - backward) * margin_floors(graph, spans, batch.targets)
    floors = floors + backward * backward_margin_floors(graph, spans, batch.targets)
    torch.testing.assert_close(fitted.loss, F.cross_entropy(-floors, batch.targets))


@pytest.mark.parametrize("name", FITS)
def test_training_with_bounds_raises_certified_accuracy_above_plain_training(name):
    make, options = FITS[name]
    data, epsilon = plane_data(), 0.25
    fit = make(plane_net(), data, options(epsilon), Plan())
    plain = trained(plane_net(), CrossEntropy(), data)
    robust = trained(plane_net(), fit, data)
    share = [
        certified_share(net, data, "interval", Norm.LINF, epsilon)
        for net in (plain, robust)
    ]
    assert share[1] > share[0] + 0.1
    assert share[1] > 0.9


@pytest.mark.parametrize(
    ("module", "make"),
    [
        (nn.BatchNorm1d(4), "interval"),
        (MaxMin(4), "interval"),
        (nn.Sigmoid(), "crown-interval"),
        (nn.LeakyReLU(2.0), "crown-interval"),
    ],
)
def test_a_module_without_a_rule_is_refused_before_the_first_step(module, make):
    fit, options = FITS[make]
    net = nn.Sequential(nn.Linear(2, 4), module, nn.Linear(4, 2)).double()
    with pytest.raises(UnsupportedLayerError) as refusal:
        fit(net, plane_data(), options(), Plan())
    assert refusal.value.layer == "1"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (IntervalOptions(epsilon=-1.0), InvalidThreatModelError),
        (IntervalOptions(clean=1.5), UsageError),
        (IntervalOptions(clean=float("nan")), UsageError),
        (IntervalOptions(ramp=2.0), UsageError),
    ],
)
def test_options_without_a_meaning_are_refused(options, error):
    with pytest.raises(error):
        interval_fit(plane_net(), plane_data(), options, Plan())


def test_values_to_regress_on_are_refused():
    few = Batch(torch.zeros(2, 2), torch.zeros(2, 1))
    data = TrainingData(few, few, few, PLANE, "values")
    with pytest.raises(SamplesError):
        interval_fit(plane_net(), data, IntervalOptions(), Plan())
