from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from robustcert.attacks.diagnostics import (
    Headway,
    headway,
    model_findings,
    run_findings,
)
from robustcert.attacks.engine import run_attacks
from robustcert.attacks.interface import Target
from robustcert.results.attack import AttackRun
from robustcert.results.norm import Norm
from robustcert.results.report import Level
from robustcert.results.threat_model import ThreatModel, ThreatSweep


def rules(findings):
    return {finding.rule for finding in findings}


def test_an_ordinary_model_raises_no_alarm(bars):
    assert rules(model_findings(*bars)) == set()


def test_a_model_that_draws_random_numbers_is_found_out(bars, wrap):
    model, inputs, labels = bars
    noisy = wrap(lambda x: nn.functional.dropout(model.function(x), 0.5), (1, 8, 8), 4)
    state = torch.get_rng_state()
    outcome = run_attacks(
        noisy, inputs, labels, ThreatSweep(Norm.LINF, (1e-3,)), ["fgsm"]
    )
    found = {finding.rule: finding.level for finding in outcome.findings}
    assert found["random-output"] is Level.ERROR
    assert torch.equal(torch.get_rng_state(), state)


def test_a_model_whose_answers_depend_on_the_batch_is_found_out(bars, wrap):
    model, inputs, labels = bars

    def mixing(x):
        logits = model.function(x)
        return logits - 0.2 * logits.sum(dim=0, keepdim=True)

    found = rules(model_findings(wrap(mixing, (1, 8, 8), 4), inputs, labels))
    assert found == {"batch-interaction"}


def test_quantised_inputs_leave_no_gradient(bars, wrap):
    model, inputs, labels = bars

    def quantised(x):
        return model.function((x * 15.0).round() / 15.0)

    findings = list(model_findings(wrap(quantised, (1, 8, 8), 4), inputs, labels))
    assert rules(findings) == {"zero-gradients"}
    assert "at 32 of the first 32 samples" in findings[0].message


def test_square_beating_gradient_attacks_is_called_gradient_masking(bars, wrap):
    model, inputs, labels = bars

    def quantised(x):
        return model.function((x * 15.0).round() / 15.0)

    outcome = run_attacks(
        wrap(quantised, (1, 8, 8), 4),
        inputs,
        labels,
        ThreatSweep(Norm.LINF, (0.15,)),
        ["pgd", "square-short"],
    )
    assert "gradient-masking" in rules(outcome.findings)
    assert outcome.runs[1].broken > 0


def test_square_before_any_gradient_attack_proves_no_masking():
    runs = [AttackRun("square", 5, 100, 0, 1.0), AttackRun("pgd", 1, 10, 10, 1.0)]
    assert "gradient-masking" not in rules(run_findings(runs, samples=1000))


def gradient_free(broken, *, name="square"):
    return [
        AttackRun("apgd-ce", 10, 100, 100, 1.0, attacked=90),
        AttackRun(name, broken, 100, 0, 1.0, attacked=80),
    ]


@pytest.mark.parametrize(
    ("broken", "level"), [(1, Level.WARNING), (20, Level.WARNING), (21, Level.ERROR)]
)
def test_masking_is_an_error_once_the_last_attack_still_breaks_a_good_share(
    broken, level
):
    (found,) = run_findings(gradient_free(broken), samples=1000)
    assert (found.rule, found.level) == ("gradient-masking", level)


def test_masking_that_a_later_attack_has_exhausted_is_a_warning():
    calm = AttackRun("transfer", 0, 100, 100, 1.0, attacked=10)
    idle = replace(calm, attacked=0)
    for last, level in [(calm, Level.WARNING), (idle, Level.ERROR)]:
        (found,) = run_findings([*gradient_free(300), last], samples=1000)
        assert found.level is level


def test_a_stand_in_that_beats_gradients_is_masking_though_it_climbs():
    runs = [gradient_free(0)[0], AttackRun("transfer", 4, 9, 9, 1.0, attacked=80)]
    (found,) = run_findings(runs, samples=1000)
    assert found.rule == "gradient-masking"
    assert "transfer climbs a stand-in and broke 4" in found.message


@pytest.mark.parametrize(
    ("one", "rule"),
    [
        (Headway(rows=10, moved=4, gained=4), "iterates-still"),
        (Headway(rows=10, moved=9, gained=4), "loss-stalls"),
        (Headway(rows=10, moved=9, gained=5), None),
        (Headway(), None),
    ],
)
def test_attacks_that_get_nowhere_are_named(one, rule):
    runs = [AttackRun("apgd-ce", 0, 1, 1, 1.0), AttackRun("square", 0, 1, 0, 1.0)]
    ways = {"apgd-ce": one, "square": Headway(rows=10)}
    found = rules(run_findings(runs, 1000, ways))
    assert found == ({rule} if rule else set())


def test_one_attack_that_gets_on_speaks_for_the_gradients():
    runs = [AttackRun("fgsm", 0, 1, 1, 1.0), AttackRun("apgd-ce", 0, 1, 1, 1.0)]
    ways = {"fgsm": Headway(10, 10, 0), "apgd-ce": Headway(10, 10, 10)}
    assert rules(run_findings(runs, 1000, ways)) == set()


def test_headway_counts_who_moved_and_who_gained(bars):
    model, inputs, labels = bars
    target = Target(model, inputs[:3], labels[:3], ThreatModel(Norm.LINF, 0.1), 0)
    candidates = inputs[:3].clone()
    candidates[1:] += 0.01
    before = torch.tensor([1.0, 1.0, 1.0])
    after = torch.tensor([1.0, 0.5, float("nan")])
    found = headway(target, candidates, after, before)
    assert found == Headway(rows=3, moved=2, gained=1)
    assert found + Headway(1, 1, 1) == Headway(4, 3, 2)


@pytest.mark.parametrize(
    ("names", "weak"),
    [(("fgsm", "pgd"), True), (("pgd", "apgd-ce"), False), (("autoattack",), False)],
)
def test_robust_accuracy_that_rests_on_a_weak_attack_is_said_to(names, weak):
    runs = [AttackRun(name, 0, 1, 1, 1.0) for name in names]
    findings = {f.rule: f for f in run_findings(runs, samples=1000)}
    assert ("weak-attacks" in findings) is weak
    if weak:
        assert findings["weak-attacks"].level is Level.WARNING


def test_claims_that_verification_threw_out_are_named():
    runs = [AttackRun("apgd-ce", 0, 1, 1, 1.0, unverified=3)]
    (finding,) = run_findings(runs, samples=1000)
    assert finding.rule == "unverified-claims"
    assert "apgd-ce claimed 3" in finding.message


def test_few_samples_are_said_to_be_few():
    runs = [AttackRun("apgd-ce", 0, 1, 1, 1.0)]
    (finding,) = run_findings(runs, samples=20)
    assert finding.rule == "few-samples"
    assert "between 0.27 and 0.73" in finding.message
    assert rules(run_findings(runs, samples=100)) == set()


def test_overflow_on_perturbed_inputs_is_a_finding_and_no_success(wrap):
    def overflow(x):
        logits = torch.stack([x[:, 0], 1.0 - x[:, 0]], 1)
        return logits.masked_fill(x[:, :1] < 0.6, float("nan"))

    outcome = run_attacks(
        wrap(overflow, (1,), 2),
        torch.tensor([[0.7]]),
        torch.tensor([0]),
        ThreatSweep(Norm.LINF, (0.3,)),
        ["fgsm"],
    )
    assert outcome.examples == ()
    assert "non-finite-output" in rules(outcome.findings)


def test_an_attack_that_refuses_is_listed(bars):
    outcome = run_attacks(*bars, ThreatSweep(Norm.LINF, (1e-3,)), ["pgd-l2", "fgsm"])
    (finding,) = [f for f in outcome.findings if f.rule == "attack-refused"]
    assert finding.message == "pgd-l2 did not run: it has no linf version."
    assert [run.name for run in outcome.runs] == ["fgsm"]
