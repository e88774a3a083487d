"""Laws that every certifier of the registry obeys: a certificate is never wrong.

A new row of the registry is tried by itself. ``python -m benchmarks.soundness`` runs
the first law on as many random nets as it is given time for.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import pytest
import torch

from robustcert.attacks.engine import run_attacks
from robustcert.certify.interface import CertificationTask
from robustcert.certify.milp.oracle import oracle_radius
from robustcert.certify.registry import CERTIFIERS
from robustcert.errors import RobustCertError, UnsupportedLayerError
from robustcert.graph.execute import run
from robustcert.graph.layers import Input, LayerGraph, Linear
from robustcert.models.interface import LoadedModel
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.report import OutputKind
from robustcert.results.threat_model import UNIT_BOX, Box, ThreatSweep
from robustcert.tensors import lp_norms, margins
from tests.laws.exact_radii import HatNet, exceeds_linear_radius, linear_gaps
from tests.laws.fuzz_nets import FAMILIES, fuzz_net
from tests.laws.soundness_fuzz import INSIDE, SECONDS, STRONG, Tally, Trial, task_for
from tests.laws.soundness_fuzz import samples as fuzz_samples
from tests.unit.lipschitz.graphs import Sketch

WIDE = Box(-1e6, 1e6)
COMPLETE = ("branch-and-bound", "milp")
"""They prove whatever is true of a small net, up to a stated share of the radius."""


def prepared(name, graph, norm):
    """The certifier; the test is skipped where the method says that it has none."""
    try:
        return CERTIFIERS[name](graph, norm)
    except UnsupportedLayerError as refusal:
        pytest.skip(f"{name} refuses: {refusal}")


def exact_task(graph, inputs, labels, norm, box=UNIT_BOX):
    """No slack: the claim is about the network over the reals alone."""
    slack = torch.zeros(len(inputs), dtype=torch.float64)
    return CertificationTask(graph, inputs, labels, norm, box, slack)


def rand(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def linear_graph(weight, bias):
    start = Input("input", (), (weight.shape[1],))
    return LayerGraph((start, Linear("head", (0,), (len(weight),), weight, bias)))


def relu_graph(*widths, seed, start=2):
    net = Sketch(start, seed=seed)
    for width in widths[:-1]:
        net.linear(width)
        net.act()
    net.linear(widths[-1])
    return net.graph()


def predicted(graph, inputs):
    return run(graph, inputs).argmax(dim=1)


@pytest.mark.parametrize("name", CERTIFIERS)
@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_no_input_of_a_certified_ball_is_classified_otherwise(name, norm):
    tally = Tally()
    for seed, family in enumerate(FAMILIES):
        if (seed % 2 == 0) == (norm is Norm.L2):
            tally.add(Trial(fuzz_net(family, seed), name, norm, seed, samples=5).run())
    assert tally.broken == []
    assert tally.points + tally.refused > 0


@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_no_attack_succeeds_within_the_largest_radius_of_all_certifiers(norm):
    net = fuzz_net("relu", 3)
    generator = torch.Generator().manual_seed(0)
    task = task_for(net, fuzz_samples(net, 4, generator), norm)
    most = torch.full_like(task.slack, net.box.width)
    best = torch.zeros_like(most)
    for preparation in CERTIFIERS.values():
        try:
            certifier = preparation(net.graph, norm)
            proved = certifier.prove(task, best.maximum(most / 50.0), SECONDS).proved
        except UnsupportedLayerError:
            continue
        best = best.maximum(most / 50.0).where(proved, best)
    row = int(best.argmax())
    radius = best[row].item() * INSIDE
    assert radius > 0.0
    found = run_attacks(
        net.model, task.inputs[row : row + 1], task.labels[row : row + 1],
        ThreatSweep(norm, (radius,), net.box), STRONG, graph=net.graph,
    )  # fmt: skip
    assert found.examples == ()


@pytest.mark.parametrize("name", CERTIFIERS)
@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_a_linear_net_is_certified_up_to_its_exact_distance_and_no_further(name, norm):
    W, b = 4.0 * rand(3, 5, seed=1) - 2.0, rand(3, seed=2)
    x = 2.0 * rand(12, 5, seed=3) - 1.0
    graph = linear_graph(W, b)
    certifier = prepared(name, graph, norm)
    labels = predicted(graph, x)
    rows = W[labels][:, None] - W[None]
    gaps = run(graph, x).gather(1, labels[:, None]) - run(graph, x)
    lengths = torch.linalg.vector_norm(rows, ord=norm.dual.value, dim=2)
    exact = (gaps / lengths).nan_to_num(nan=torch.inf).amin(dim=1)
    task = exact_task(graph, x, labels, norm, WIDE)
    assert certifier.prove(task, exact * (1.0 - 1e-9)).proved.all()
    assert not certifier.prove(task, exact * (1.0 + 1e-9)).proved.any()


@pytest.mark.parametrize("name", CERTIFIERS)
@pytest.mark.parametrize("norm", THREAT_NORMS)
@pytest.mark.parametrize("scale", [1.0, 1e6, 1e12])
def test_cancelling_logits_are_never_certified_beyond_what_fractions_allow(
    name, norm, scale
):
    x = rand(8, 4, seed=4)
    W = rand(3, 4, seed=5) + scale * rand(1, 4, seed=6)
    b = 1e-3 * rand(3, seed=7) - scale
    graph = linear_graph(W, b)
    labels = predicted(graph, x)
    certifier = prepared(name, graph, norm)
    task = exact_task(graph, x, labels, norm, WIDE)
    radii = certifier.radii(task, torch.full_like(task.slack, 1.0))
    for point, label, radius in zip(x, labels, radii, strict=True):
        gaps = linear_gaps(W, b, point, int(label))
        claimed = radius.item()
        assert claimed == 0.0 or not exceeds_linear_radius(claimed, gaps, norm)


@pytest.mark.parametrize("name", CERTIFIERS)
@pytest.mark.parametrize("norm", THREAT_NORMS)
@pytest.mark.parametrize("scale", [1.0, 1e5])
def test_a_radius_on_the_line_never_exceeds_the_exact_one(name, norm, scale):
    net = Sketch(1, seed=8)
    net.linear(scale * (net.random(5, 1)), net.random(5) * 0.3 * scale)
    net.act()
    net.linear(net.random(3, 5), net.random(3) * 0.1 * scale)
    graph = net.graph()
    first, last = graph.layers[1], graph.layers[-1]
    hat = HatNet((first.weight[:, 0], first.bias), (last.weight, last.bias))
    x = rand(8, 1, seed=9)
    labels = predicted(graph, x)
    certifier = prepared(name, graph, norm)
    task = exact_task(graph, x, labels, norm)
    exact = [
        hat.radius(point.item(), int(label), UNIT_BOX)
        for point, label in zip(x, labels, strict=True)
    ]
    reach = torch.tensor([1.0 if far is None else float(far) for far in exact])
    for share in (0.5, 1.0 - 1e-4, 1.0 + 1e-9, 1.001):
        asked = reach.double() * share
        proved = certifier.prove(task, asked, 2.0).proved.tolist()
        for far, radius, holds in zip(exact, asked.tolist(), proved, strict=True):
            true = far is None or Fraction(radius) < far
            assert true or not holds
            assert holds or name not in COMPLETE or share > 1.0


@cache
def exact_on_the_square():
    """100 points of a 2-20-2 net, their classes and exact radii."""
    graph = relu_graph(20, 2, seed=4)
    points = rand(100, 2, seed=11)
    labels = predicted(graph, points)
    radii = [
        oracle_radius(graph, point, int(label), UNIT_BOX)
        for point, label in zip(points, labels, strict=True)
    ]
    return graph, points, labels, torch.tensor(radii, dtype=torch.float64)


@pytest.mark.parametrize("name", CERTIFIERS)
def test_certified_radii_never_exceed_those_of_integer_programs(name):
    graph, points, labels, exact = exact_on_the_square()
    certifier = prepared(name, graph, Norm.LINF)
    task = exact_task(graph, points, labels, Norm.LINF)
    near = exact.clamp(max=1.0)
    beyond = (near * 1.001).clamp(max=1.0)
    proved = certifier.prove(task, beyond, 1.0).proved
    assert not (proved & (exact < beyond)).any()
    within = certifier.prove(task, near * 0.999, 1.0).proved
    assert name not in COMPLETE or within.all()


def test_no_example_is_nearer_than_integer_programs_say_and_most_are_at_1_percent():
    graph, points, labels, exact = exact_on_the_square()
    model = LoadedModel(
        lambda x: run(graph, x), graph, "0" * 64, "layers", (2,), graph.outputs,
        OutputKind.LOGITS, 1, torch.float64, torch.device("cpu"),
    )  # fmt: skip
    threats = ThreatSweep(Norm.LINF, (1.0,))
    found = run_attacks(model, points, labels, threats, ["fmn", "fab-t"], graph=graph)
    distances = torch.tensor([example.distance for example in found.examples])
    nearest = exact[[example.index for example in found.examples]]
    assert (distances >= nearest * (1.0 - 1e-6)).all()
    assert (distances <= nearest * 1.01).double().mean() > 0.8
    assert len(distances) == int((exact < 1.0).sum())


@pytest.mark.parametrize("name", CERTIFIERS)
@pytest.mark.parametrize("norm", THREAT_NORMS)
@pytest.mark.parametrize("box", [UNIT_BOX, Box(0.5, 0.5)])
def test_a_ball_of_one_point_is_proved_exactly_if_its_margin_exceeds_the_slack(
    name, norm, box
):
    graph = relu_graph(6, 3, seed=12)
    x = rand(6, 2, seed=13).clamp(box.low, box.high)
    labels = predicted(graph, x)
    certifier = prepared(name, graph, norm)
    gaps = margins(run(graph, x), labels)
    radius = 0.0 if box.width > 0.0 else 0.1
    for share in (0.99, 1.01):
        task = CertificationTask(graph, x, labels, norm, box, share * gaps)
        proof = certifier.prove(task, torch.full_like(gaps, radius))
        assert (proof.proved == (share < 1.0)).all()


@pytest.mark.parametrize("name", CERTIFIERS)
@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_numbers_that_overflow_prove_nothing(name, norm):
    net = Sketch(2, seed=14)
    net.linear(1e200 * net.random(4, 2))
    net.act()
    net.linear(1e200 * net.random(3, 4))
    graph = net.graph()
    x = rand(4, 2, seed=15)
    task = exact_task(graph, x, predicted(graph, x), norm)
    try:
        certifier = CERTIFIERS[name](graph, norm)
        proof = certifier.prove(task, torch.full_like(task.slack, 0.1), SECONDS)
    except RobustCertError:
        return
    finite = run(graph, x).isfinite().all(dim=1)
    assert not (proof.proved & ~finite).any()


@pytest.mark.parametrize("name", CERTIFIERS)
@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_what_a_certifier_suspects_lies_in_the_ball_and_is_not_proved(name, norm):
    graph = relu_graph(12, 8, 3, seed=16)
    x = rand(12, 2, seed=17)
    certifier = prepared(name, graph, norm)
    task = exact_task(graph, x, predicted(graph, x), norm)
    radii = torch.full_like(task.slack, 0.4)
    proof = certifier.prove(task, radii, SECONDS)
    for row, suspect in proof.suspects.items():
        assert not proof.proved[row]
        assert ((suspect >= 0.0) & (suspect <= 1.0)).all()
        distance = lp_norms((suspect - x[row])[None], norm).item()
        assert distance <= radii[row].item() * (1.0 + 1e-9)


@pytest.mark.parametrize("name", CERTIFIERS)
@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_radii_are_finite_and_never_more_than_asked_for(name, norm):
    graph = relu_graph(6, 3, seed=18)
    x = rand(3, 2, seed=19)
    certifier = prepared(name, graph, norm)
    most = torch.tensor([0.0, 1e-3, 0.05], dtype=torch.float64)
    radii = certifier.radii(exact_task(graph, x, predicted(graph, x), norm), most)
    assert radii.dtype == torch.float64
    assert ((radii >= 0.0) & (radii <= most)).all()
