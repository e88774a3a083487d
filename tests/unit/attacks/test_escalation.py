"""Each finding names the attacks that do not depend on what is wrong."""

from __future__ import annotations

import torch

from robustcert.attacks.diagnostics import model_findings
from robustcert.attacks.escalation import ESCALATIONS, OneByOne, escalations
from robustcert.attacks.interface import Target
from robustcert.attacks.straight_through import StraightThrough
from robustcert.attacks.verify import judged_margins
from robustcert.results.norm import Norm
from robustcert.results.report import Finding, Level
from robustcert.results.soundness import UNRELIABLE
from robustcert.results.threat_model import ThreatModel

LINF = ThreatModel(Norm.LINF, 0.2)


def finding(rule):
    return Finding(rule, Level.WARNING, "Something is wrong.", "Mend it.")


def test_every_finding_that_makes_a_report_unreliable_has_an_escalation():
    assert set(ESCALATIONS) == UNRELIABLE - {"budget-spent"}  # more time is the cure


def test_each_attack_is_asked_for_once_and_only_if_it_did_not_run():
    found = [finding("zero-gradients"), finding("quantised-input"), finding("odd")]
    assert escalations(found, []) == ("straight-through", "transfer", "square")
    assert escalations(found, ["square", "pgd"]) == ("straight-through", "transfer")
    assert escalations([finding("few-samples")], []) == ()


def test_randomness_calls_for_gradients_in_expectation():
    assert escalations([finding("random-output")], []) == ("apgd-ce-eot",)


def test_what_depends_on_its_company_is_attacked_alone(bars, wrap):
    """In company the net answers like its mirror image, so batched steps go astray."""
    model, inputs, labels = bars[0], bars[1][:12], bars[2][:12]

    def two_faced(x):
        logits = model.function(x)
        return logits if len(x) == 1 else -logits

    split = wrap(two_faced, (1, 8, 8), 4)
    (found,) = model_findings(split, inputs, labels)
    assert escalations([found], []) == ("one-by-one",)

    def alone(attack):
        candidates = attack.perturb(Target(split, inputs, labels, LINF, 0))
        return [
            float(judged_margins(split, candidates[[i]], labels[[i]])) < 0.0
            for i in range(len(inputs))
        ]

    plain = StraightThrough().perturb(Target(model, inputs, labels, LINF, 0))
    truth = judged_margins(model, plain, labels) < 0.0
    assert abs(sum(alone(OneByOne())) - int(truth.sum())) <= 1
    assert sum(alone(StraightThrough())) < sum(alone(OneByOne()))


def test_no_samples_alone_are_no_samples(bars):
    model, inputs, labels = bars
    nobody = Target(model, inputs[:0], labels[:0], LINF, 0)
    assert torch.equal(OneByOne().perturb(nobody), inputs[:0])
