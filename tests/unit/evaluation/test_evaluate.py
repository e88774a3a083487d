"""The use case on nets small enough to check by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from robustcert.attacks.budget import Budget
from robustcert.errors import (
    InputShapeError,
    SamplesError,
    UnknownNameError,
    UnsoundModelError,
    UsageError,
)
from robustcert.evaluation.plan import EvaluationPlan
from robustcert.evaluation.request import (
    EvaluationRequest,
    from_request,
    to_request,
)
from robustcert.evaluation.run import Surroundings, attack, certify, evaluate
from robustcert.gate.outcome import Outcome
from robustcert.gate.policy import policy_from
from robustcert.gate.verdict import decide
from robustcert.models.samples import Samples
from robustcert.models.torchscript import load_torchscript
from robustcert.results.certificate import Verdict
from robustcert.results.document import to_document, without_times
from robustcert.results.effort import Effort, Tier
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.threat_model import UNIT_BOX, Box, ThreatSweep
from tests.models import nets


def linear_classifier():
    """Class 0 iff x0 > x1, with distance |x0 - x1| / sqrt(2) and |x0 - x1| / 2."""
    net = nn.Linear(2, 2)
    net.weight.data = torch.eye(2)
    net.bias.data = torch.zeros(2)
    return load_torchscript(nets.scripted(net), input_shape=(2,))


def points():
    inputs = torch.tensor([[0.9, 0.1], [0.5, 0.4], [0.3, 0.6], [0.2, 0.7]])
    return Samples(inputs, torch.tensor([0, 0, 1, 0]), "points", "0" * 64)


def plan(norm=Norm.L2, epsilons=(0.0, 0.1, 0.3, 0.6), **settings):
    sweep = ThreatSweep(norm, epsilons, settings.pop("box", UNIT_BOX))
    return EvaluationPlan(sweep, **settings)


@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_every_point_of_a_linear_classifier_is_settled_at_its_exact_distance(norm):
    report = evaluate(linear_classifier(), points(), plan(norm))
    scale = 2.0**0.5 if norm is Norm.L2 else 2.0
    for row, gap in zip(report.rows, (0.8, 0.1, 0.3, -0.5), strict=True):
        if gap < 0:
            assert (row.adversarial_distance, row.broken_by) == (0.0, "clean")
            continue
        assert row.certified_radius == pytest.approx(gap / scale, rel=1e-3)
        if row.adversarial_distance is not None:
            assert row.adversarial_distance > row.certified_radius
            assert row.adversarial_distance == pytest.approx(gap / scale, rel=1e-2)
    assert all(
        row.verdict(e) is not Verdict.UNDECIDED for row in report.rows for e in (0, 0.3)
    )
    assert report.clean_accuracy == 0.75


@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_the_lipschitz_bracket_of_a_linear_classifier_closes(norm):
    report = evaluate(linear_classifier(), points(), plan(norm))
    assert report.lipschitz.lower.value == pytest.approx(1.0, rel=1e-5)
    assert report.lipschitz.upper.value == pytest.approx(1.0, rel=1e-9)


def test_the_same_seed_gives_the_same_document_apart_from_times():
    model = load_torchscript(
        nets.scripted(nets.settled(nets.mlp(6, 8, 3))), input_shape=(6,)
    )
    inputs = torch.rand(12, 6, generator=torch.Generator().manual_seed(4))
    labels = model.logits(inputs).argmax(1)
    samples = Samples(inputs, labels, "random", "0" * 64)
    asked = plan(epsilons=(0.2,), certify_seconds=60.0)
    documents = [
        without_times(to_document(evaluate(model, samples, asked))) for _ in range(2)
    ]
    assert documents[0] == documents[1]


def test_attacks_alone_certify_nothing_and_certificates_alone_attack_nothing():
    model, samples = linear_classifier(), points()
    attacked = attack(model, samples, plan(epsilons=(0.3,)))
    assert attacked.curve[0].certified == 0.0
    assert attacked.curve[0].robust == 0.25
    asked = plan(epsilons=(0.3,), certifiers=("interval",))
    certified = certify(model, samples, asked)
    assert certified.curve[0].certified == 0.25
    assert certified.curve[0].robust == 0.75
    assert not certified.attacks


def test_a_model_without_a_graph_is_attacked_and_says_why_it_is_not_certified():
    net = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    net[0].weight.data, net[0].bias.data = torch.eye(2), torch.zeros(2)
    model = load_torchscript(nets.scripted(net), input_shape=(2,))
    report = evaluate(model, points(), plan(epsilons=(0.3,)))
    assert report.curve[0].certified == 0.0
    assert report.lipschitz.upper is None
    assert report.lipschitz.lower is not None
    assert report.model.unsupported[0].reason == "operator aten::layer_norm has no rule"
    assert "no-graph" in {finding.rule for finding in report.findings}


def test_count_takes_the_first_samples():
    report = certify(linear_classifier(), points(), plan(count=2))
    assert [row.index for row in report.rows] == [0, 1]
    assert report.samples.count == 2


def test_long_work_tells_how_far_it_has_come():
    heard = []
    evaluate(linear_classifier(), points(), plan(), Surroundings(heard.append))
    stages = {progress.stage for progress in heard}
    assert {"lipschitz", "certify"} <= stages
    assert any(" at l2 0.6" in stage for stage in stages)


def test_a_weak_tier_is_said_to_be_weak():
    report = attack(linear_classifier(), points(), plan(tier=Tier.QUICK))
    assert "weak-attacks" in {finding.rule for finding in report.findings}


def test_findings_about_few_samples_count_all_shards(monkeypatch):
    monkeypatch.setattr("robustcert.evaluation.shards.SIZE", 2)
    report = attack(linear_classifier(), points(), plan(tier=Tier.QUICK))
    few = [f for f in report.findings if f.rule == "few-samples"]
    assert len(few) == 1
    assert few[0].message.startswith("4 samples")
    assert [row.index for row in report.rows] == [0, 1, 2, 3]


class Spread(nn.Module):
    """Cannot be certified: its norm has no rule."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(2, 2)
        self.norm = nn.LayerNorm(2)

    def forward(self, x):
        return self.norm(self.head(x))


def uncertified():
    net = Spread()
    net.head.weight.data, net.head.bias.data = torch.eye(2), torch.zeros(2)
    return load_torchscript(nets.scripted(net), input_shape=(2,))


@pytest.mark.parametrize("minimum", [0.25, 0.75])
def test_no_gate_passes_on_samples_that_a_spent_budget_left(minimum):
    asked = plan(Norm.LINF, (0.01,), attacks=("pgd",), budget=Budget(queries=0))
    report = evaluate(uncertified(), points(), asked)
    assert report.curve[0].robust == 0.75
    assert "budget-spent" in {finding.rule for finding in report.findings}
    rule = {"metric": "robust_accuracy", "epsilon": 0.01, "min": minimum}
    policy = {"evaluate": {"samples": "points", "norm": "linf"}, "rule": [rule]}
    assert decide(report, policy_from(policy)).outcome is Outcome.INCONCLUSIVE


def test_a_budget_is_shared_among_the_shards(monkeypatch):
    monkeypatch.setattr("robustcert.evaluation.shards.SIZE", 2)
    spread = plan(Norm.LINF, (0.01,), attacks=("pgd",), budget=Budget(queries=300))
    report = attack(uncertified(), points(), spread)
    assert report.attacks[0].attacked == 3  # both shards: the fourth sample is wrong
    few = plan(Norm.LINF, (0.01,), attacks=("pgd",), budget=Budget(queries=1))
    left = attack(uncertified(), points(), few)
    (finding,) = (f for f in left.findings if f.rule == "budget-spent")
    assert "of 4 samples" in finding.message


def test_samples_that_do_not_fit_are_refused():
    model, samples = linear_classifier(), points()
    with pytest.raises(SamplesError, match="2 classes"):
        evaluate(model, replace_labels(samples, [0, 1, 2, 0]), plan())
    with pytest.raises(SamplesError, match="outside the box"):
        evaluate(model, samples, plan(box=Box(0.0, 0.5)))
    wide = Samples(torch.rand(2, 3), torch.tensor([0, 1]), "wide", "0" * 64)
    with pytest.raises(InputShapeError):
        evaluate(model, wide, plan())


def replace_labels(samples, labels):
    return replace(samples, labels=torch.tensor(labels))


def test_names_that_do_not_exist_are_refused_with_those_that_do():
    model, samples = linear_classifier(), points()
    with pytest.raises(UnknownNameError, match="pgd"):
        attack(model, samples, plan(attacks=("nope",)))
    with pytest.raises(UnknownNameError) as caught:
        certify(model, samples, plan(certifiers=("nope",)))
    assert "interval" in caught.value.remedy


class NanOutside(nn.Module):
    """Finite on [0, 1], NaN where the first input is above 0.85."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(2, 2)

    def forward(self, x):
        return self.head(x) + torch.log(0.85 - x[:, :1]) * 0.0


def test_a_model_that_returns_nan_on_a_sample_is_refused():
    inner = points().inputs * 0.5
    data = nets.scripted(NanOutside())
    with pytest.raises(UnsoundModelError):
        load_torchscript(data, input_shape=(2,))
    assert torch.isfinite(NanOutside()(inner)).all()


def test_a_plan_asks_for_at_least_one_sample():
    with pytest.raises(UsageError):
        plan(count=0)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_a_plan_gives_certifiers_a_finite_time(seconds):
    with pytest.raises(UsageError):
        plan(certify_seconds=seconds)


def test_a_request_survives_the_border_of_the_child():
    request = EvaluationRequest(
        "model.pt",
        "samples.npz",
        plan(
            Norm.LINF,
            (0.1, 0.2),
            box=Box(-1.0, 1.0),
            count=5,
            tier=Tier.THOROUGH,
            effort=Effort.TIGHT,
            seed=7,
            attacks=("pgd",),
            certifiers=("interval",),
            certify_seconds=2.5,
            budget=Budget(seconds=2.5, queries=1000),
        ),
        sample_name="mine",
        input_shape=(3, 8, 8),
        checkpoints="kept",
        seconds=60.0,
    )
    assert from_request(to_request(request)) == request
