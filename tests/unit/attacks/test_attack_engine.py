from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
import torch

from robustcert.attacks.catalogue import ATTACKS
from robustcert.attacks.engine import run_attacks
from robustcert.attacks.interface import Target
from robustcert.errors import (
    SamplesError,
    UnknownNameError,
    UnsoundModelError,
    UsageError,
)
from robustcert.results.norm import Norm
from robustcert.results.threat_model import Box, ThreatSweep
from robustcert.tensors import margins


@dataclass(frozen=True)
class Recorded:
    """A real row that notes what it was asked to attack."""

    row: object
    name: str = "recorded"
    asked: list = field(default_factory=list)

    @property
    def norms(self):
        return self.row.norms

    @property
    def minimal(self):
        return self.row.minimal

    def refusal(self, model, threat):
        return self.row.refusal(model, threat)

    def perturb(self, target: Target):
        self.asked.append((target.threat.epsilon, target.inputs))
        return self.row.perturb(target)


@pytest.fixture
def recorded(monkeypatch):
    def record(name):
        row = Recorded(ATTACKS[name])
        monkeypatch.setitem(ATTACKS, "recorded", row)
        return row

    return record


def exact_distances(model, inputs, labels, matrix, norm):
    """min over k of margin_k / |w_y - w_k|_q, the distance to each hyperplane."""
    logits = model.logits(inputs).double()
    gaps = logits.gather(1, labels[:, None]) - logits
    rows = (matrix[labels][:, None] - matrix[None]).double()
    slopes = torch.linalg.vector_norm(rows, ord=norm.dual.value, dim=2)
    return (gaps / slopes).nan_to_num(nan=math.inf).amin(dim=1)


@pytest.mark.parametrize(
    ("name", "norm", "slack"),
    [
        ("fab", Norm.L2, 1.01),
        ("fab", Norm.LINF, 1.01),
        ("deepfool", Norm.L2, 1.01),
        ("cw", Norm.L2, 1.7),
        ("ead-en", Norm.L2, 1.5),
    ],
)
def test_minimal_distance_on_a_linear_model_is_just_above_the_exact_one(
    linear, name, norm, slack
):
    model, inputs, labels, W = linear
    outcome = run_attacks(model, inputs, labels, ThreatSweep(norm, (0.4,)), [name])
    exact = exact_distances(model, inputs, labels, W, norm)
    assert len(outcome.examples) == len(inputs)
    found = torch.tensor([e.distance for e in outcome.examples], dtype=torch.float64)
    ratios = found / exact
    assert ratios.min() >= 1.0 - 1e-6
    assert ratios.max() <= slack


@pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF])
def test_a_point_that_is_robust_by_construction_is_never_broken(linear, norm):
    model, inputs, labels, W = linear
    exact = exact_distances(model, inputs, labels, W, norm)
    epsilon = float(exact.median())
    names = [
        name
        for name, attack in ATTACKS.items()
        if norm in attack.norms and name not in {"square", "autoattack"}
    ]
    outcome = run_attacks(model, inputs, labels, ThreatSweep(norm, (epsilon,)), names)
    broken = {example.index for example in outcome.examples}
    assert broken <= set((exact <= epsilon).nonzero().flatten().tolist())
    assert broken >= set((exact < 0.99 * epsilon).nonzero().flatten().tolist())


def test_samples_that_are_wrong_unperturbed_are_broken_at_distance_0_without_a_query(
    bars, recorded
):
    model, inputs, labels = bars
    row = recorded("fgsm")
    wrong = (labels + 1) % 4
    outcome = run_attacks(
        model, inputs, wrong, ThreatSweep(Norm.LINF, (0.1,)), ["recorded"]
    )
    assert {(e.distance, e.attack) for e in outcome.examples} == {(0.0, "clean")}
    assert outcome.adversarial == {}
    assert outcome.runs[0].forward_queries == 0
    assert row.asked == []


def test_only_points_neither_settled_nor_certified_are_attacked(bars, recorded):
    model, inputs, labels = bars
    row = recorded("pgd")
    certified = torch.zeros(len(inputs), dtype=torch.float64)
    certified[:4] = torch.tensor([0.02, 0.11, 0.2, 0.3], dtype=torch.float64)

    def attacked_at(*epsilons):
        sweep = ThreatSweep(Norm.LINF, epsilons)
        return run_attacks(
            model, inputs, labels, sweep, ["recorded"], certified=certified
        )

    alone = attacked_at(0.15)
    wrong = set((alone.margins <= 0).nonzero().flatten().tolist())
    assert row_set(inputs, row, 0.15) == set(range(len(inputs))) - wrong - {2, 3}
    row.asked.clear()
    attacked_at(0.11, 0.15)
    between = {e.index for e in alone.examples if e.distance > 0.11}
    assert between
    assert row_set(inputs, row, 0.15) == set(range(len(inputs))) - wrong - {2, 3}
    assert row_set(inputs, row, 0.11) == between - {1, 2, 3}


def row_set(inputs, row, epsilon):
    """Indices of the inputs that were attacked at epsilon."""
    asked = [batch for radius, batch in row.asked if radius == epsilon]
    return {
        index
        for index, sample in enumerate(inputs)
        for batch in asked
        if (batch == sample).flatten(1).all(dim=1).any()
    }


def test_a_minimal_attack_runs_once_and_serves_every_epsilon(bars, recorded):
    model, inputs, labels = bars
    row = recorded("fab")
    outcome = run_attacks(
        model, inputs, labels, ThreatSweep(Norm.L2, (0.0, 0.7, 1.2)), ["recorded"]
    )
    assert {epsilon for epsilon, _ in row.asked} == {1.2}
    assert len(row.asked) == 1
    distances = [e.distance for e in outcome.examples]
    assert min(distances) < 0.7 < max(distances)


def test_an_attack_that_lies_breaks_nothing_and_is_reported(bars, monkeypatch):
    model, inputs, labels = bars

    class Liar(Recorded):
        def perturb(self, target):
            donors = [inputs[labels != label][0] for label in target.labels]
            return torch.stack(donors)  # another class's picture, far outside

    monkeypatch.setitem(ATTACKS, "liar", Liar(ATTACKS["fgsm"], "liar"))
    outcome = run_attacks(
        model, inputs, labels, ThreatSweep(Norm.LINF, (1e-3,)), ["liar"]
    )
    assert outcome.runs[0].broken == 0
    assert outcome.runs[0].unverified > 0
    assert "unverified-claims" in {finding.rule for finding in outcome.findings}


def test_the_smallest_example_is_kept_and_credited(bars):
    model, inputs, labels = bars
    sweep = ThreatSweep(Norm.LINF, (0.3,))
    coarse = run_attacks(model, inputs, labels, sweep, ["fgsm"])
    for example in coarse.examples:
        if example.attack == "clean":
            continue
        stored = coarse.adversarial[example.index]
        size = (stored.double() - inputs[example.index].double()).abs().max().item()
        assert size == example.distance
        gap = margins(model.logits(stored[None]), labels[[example.index]])
        assert gap.item() < 0.0


def test_queries_are_counted_per_sample(bars):
    model, inputs, labels = bars
    right = int((margins(model.logits(inputs), labels) > 0).sum())
    (run,) = run_attacks(
        model, inputs, labels, ThreatSweep(Norm.LINF, (1e-6,)), ["fgsm"]
    ).runs
    assert run.backward_queries == right
    # One for the scale, one for the gradient, one for the last iterate, one for the
    # claim.
    assert run.forward_queries == 4 * right


def test_a_listener_hears_each_chunk(bars):
    model, inputs, labels = bars
    heard = []
    run_attacks(
        model,
        inputs.repeat(3, 1, 1, 1),
        labels.repeat(3),
        ThreatSweep(Norm.LINF, (1e-6,)),
        ["fgsm"],
        listener=heard.append,
    )
    assert [event.done for event in heard] == [64, heard[-1].total]
    assert heard[0].stage == "fgsm at linf 1e-06"


def test_it_works_where_the_caller_has_turned_gradients_off(bars):
    model, inputs, labels = bars
    sweep = ThreatSweep(Norm.LINF, (0.2,))
    plain = run_attacks(model, inputs, labels, sweep, ["pgd"])
    with torch.no_grad():
        quiet = run_attacks(model, inputs, labels, sweep, ["pgd"])
    with torch.inference_mode():
        inferring = run_attacks(model, inputs.clone(), labels, sweep, ["pgd"])
    assert plain.examples == quiet.examples == inferring.examples


def test_another_seed_may_find_other_examples(bars):
    model, inputs, labels = bars
    sweep = ThreatSweep(Norm.LINF, (0.2,))
    outcomes = [
        run_attacks(model, inputs, labels, sweep, ["pgd"], seed=seed) for seed in (0, 1)
    ]
    assert outcomes[0].examples != outcomes[1].examples


@pytest.mark.parametrize("scale", [1e-3, 1e3, 1e5])
def test_the_scale_of_the_logits_hides_nothing(bars, wrap, scale):
    model, inputs, labels = bars
    scaled = wrap(lambda x: scale * model.function(x), (1, 8, 8), 4)
    sweep = ThreatSweep(Norm.LINF, (0.1,))
    broken = [
        len(run_attacks(net, inputs, labels, sweep, ["pgd"]).examples)
        for net in (model, scaled)
    ]
    assert broken[0] > 0
    assert abs(broken[0] - broken[1]) <= 1


def test_unusable_requests_are_refused_with_a_remedy(bars, wrap):
    model, inputs, labels = bars
    sweep = ThreatSweep(Norm.LINF, (0.1,))
    for problem, error, arguments in [
        ("no attack is called", UnknownNameError, (inputs, labels, sweep, ["nope"])),
        ("no attack is named", UsageError, (inputs, labels, sweep, [])),
        ("no attack can run", UsageError, (inputs, labels, sweep, ["pgd-l2"])),
        ("outside the box", SamplesError, (inputs * 3, labels, sweep, ["pgd"])),
        ("outside the box", SamplesError, (inputs * math.nan, labels, sweep, ["pgd"])),
        ("the model takes", SamplesError, (inputs[:, :, 1:], labels, sweep, ["pgd"])),
        ("the model takes", SamplesError, (inputs[:0], labels[:0], sweep, ["pgd"])),
        ("classes between", SamplesError, (inputs, labels + 4, sweep, ["pgd"])),
    ]:
        with pytest.raises(error, match=problem) as caught:
            run_attacks(model, *arguments)
        assert caught.value.remedy
    with pytest.raises(SamplesError, match="certified radii"):
        run_attacks(model, inputs, labels, sweep, ["pgd"], certified=torch.zeros(3))


def test_a_model_that_returns_no_numbers_is_refused(wrap):
    broken = wrap(lambda x: x[:, :2] / 0.0 * 0.0, (3,), 2)
    with pytest.raises(UnsoundModelError, match="NaN or infinity on 2 of 2"):
        run_attacks(
            broken,
            torch.rand(2, 3),
            torch.zeros(2, dtype=torch.int64),
            ThreatSweep(Norm.L2, (0.1,), Box(0.0, 1.0)),
            ["pgd-l2"],
        )
