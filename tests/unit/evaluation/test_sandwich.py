"""Certificates from below and examples from above, where the truth is known."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest
import torch
from torch import nn

from robustcert.certify.interface import Proof
from robustcert.certify.radius import ByBisection
from robustcert.certify.registry import CERTIFIERS
from robustcert.cli import options
from robustcert.errors import ConsistencyError, UnknownNameError, UnsupportedLayerError
from robustcert.evaluation.allowance import Deadline
from robustcert.evaluation.certifiers import certifier_names
from robustcert.evaluation.plan import EvaluationPlan
from robustcert.evaluation.run import Surroundings, certify, evaluate
from robustcert.models.samples import Samples
from robustcert.models.torchscript import load_torchscript
from robustcert.results.certificate import Verdict
from robustcert.results.document import from_document, issue, to_document, without_times
from robustcert.results.effort import Effort
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.threat_model import UNIT_BOX, ThreatSweep
from tests.models import nets

GAPS = (0.8, 0.1, 0.3, -0.5)


def linear_classifier():
    """Class 0 iff x0 > x1, with distance |x0 - x1| / sqrt(2) and |x0 - x1| / 2."""
    net = nn.Linear(2, 2)
    net.weight.data = torch.eye(2)
    net.bias.data = torch.zeros(2)
    return load_torchscript(nets.scripted(net), input_shape=(2,))


def points():
    inputs = torch.tensor([[0.9, 0.1], [0.5, 0.4], [0.3, 0.6], [0.2, 0.7]])
    return Samples(inputs, torch.tensor([0, 0, 1, 0]), "points", "0" * 64)


def distances(norm):
    return [gap / (2.0**0.5 if norm is Norm.L2 else 2.0) for gap in GAPS]


def plan(norm=Norm.LINF, epsilons=(0.1, 0.2, 0.3), **settings):
    settings.setdefault("attacks", ("margin-ascent",))
    return EvaluationPlan(ThreatSweep(norm, epsilons, UNIT_BOX), **settings)


@dataclass(slots=True)
class Seen:
    """What a certifier was shown: how often each ball, and the least time for it."""

    balls: Counter = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    least: dict[float, float] = field(default_factory=dict)

    def at(self, epsilon):
        return sorted(gap for gap, radius in self.balls if radius == epsilon)


@dataclass(slots=True)
class Truth(ByBisection):
    """Knows the linear classifier: proves its balls or shows the boundary crossed.

    Attributes:
        seen: what it was shown.
        share: of the true distance up to which it proves.
        reach: suspects lie so far along the way to the other class, in radii.
        pause: it proves nothing where it is given less time.
    """

    seen: Seen = field(default_factory=Seen)
    share: float = 1.0
    reach: float | None = None
    pause: float = 0.0

    def prove(self, task, radii, seconds=math.inf):
        self.seen.seconds.append(seconds)
        signs = 1.0 - 2.0 * task.labels
        gaps = (task.inputs[:, 0] - task.inputs[:, 1]) * signs
        for gap, radius in zip(gaps.tolist(), radii.tolist(), strict=True):
            self.seen.balls[(round(gap, 3), radius)] += 1
            known = self.seen.least.get(radius, math.inf)
            self.seen.least[radius] = min(seconds, known)
        length = 2.0**0.5 if task.norm is Norm.L2 else 2.0
        proved = (radii < self.share * (gaps - task.slack) / length) & (
            seconds >= self.pause
        )
        suspects = {}
        if self.reach is not None:
            way = torch.tensor([-1.0, 1.0], dtype=torch.float64) * self.reach
            way = way / (2.0**0.5 if task.norm is Norm.L2 else 1.0)
            for row in (~proved).nonzero().flatten().tolist():
                suspects[row] = task.inputs[row] + signs[row] * radii[row] * way
        return Proof(proved, suspects)


class Refusing(ByBisection):
    """Finds out late that it has no rule."""

    def prove(self, _task, _radii, _seconds=math.inf):
        raise UnsupportedLayerError("head", "linear has no rule here")


@pytest.fixture
def with_certifiers(monkeypatch):
    """Put certifiers into the registry in place of those that are there."""

    def put(**certifiers):
        for name in list(CERTIFIERS):
            monkeypatch.delitem(CERTIFIERS, name)
        for name, certifier in certifiers.items():
            monkeypatch.setitem(
                CERTIFIERS, name.replace("_", "-"), lambda _graph, _norm, c=certifier: c
            )

    return put


def verdicts(report, epsilon):
    return [row.verdict(epsilon) for row in report.rows]


@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_both_sides_close_in_on_the_true_distance(norm):
    report = evaluate(linear_classifier(), points(), plan(norm, (0.1, 0.6), attacks=()))
    for row, distance in zip(report.rows, distances(norm), strict=True):
        if distance < 0.0:
            assert (row.certified_radius, row.adversarial_distance) == (0.0, 0.0)
            continue
        assert 0.97 * distance <= row.certified_radius <= distance
        assert row.adversarial_distance is None or (
            row.certified_radius < row.adversarial_distance <= 1.02 * distance
        )
    assert Verdict.UNDECIDED not in verdicts(report, 0.1) + verdicts(report, 0.6)


def test_certified_points_cost_no_query():
    report = evaluate(linear_classifier(), points(), plan(epsilons=(0.01,)))
    assert report.curve[0].certified == 0.75
    assert sum(run.attacked for run in report.attacks) == 0
    assert sum(run.forward_queries for run in report.attacks) == 0


def test_broken_points_are_shown_to_no_dear_certifier(with_certifiers):
    truth = Truth()
    with_certifiers(branch_and_bound=truth)
    report = evaluate(linear_classifier(), points(), plan(epsilons=(0.2,)))
    assert verdicts(report, 0.2) == [
        Verdict.CERTIFIED,
        Verdict.BROKEN,
        Verdict.BROKEN,
        Verdict.BROKEN,
    ]
    assert truth.seen.at(0.2) == [0.8]


def test_cheap_certifiers_come_before_dear_ones_and_leave_them_little(with_certifiers):
    cheap, dear = Truth(share=0.5), Truth()
    with_certifiers(interval=cheap, branch_and_bound=dear)
    report = evaluate(linear_classifier(), points(), plan(epsilons=(0.1, 0.3)))
    assert cheap.seen.at(0.1) == [0.1, 0.3, 0.8]
    assert dear.seen.at(0.1) == [0.3]
    assert dear.seen.at(0.3) == [0.8]
    assert report.rows[0].settled_by(0.3) == "branch-and-bound"


def test_a_suspect_that_stands_up_breaks_its_sample_in_the_certifiers_name(
    with_certifiers,
):
    with_certifiers(branch_and_bound=Truth(reach=1.0))
    report = certify(linear_classifier(), points(), plan(epsilons=(0.2,)))
    assert [row.broken_by for row in report.rows] == [
        None,
        "branch-and-bound",
        "branch-and-bound",
        "clean",
    ]
    for row, distance in zip(report.rows[1:3], distances(Norm.LINF)[1:3], strict=True):
        assert distance < row.adversarial_distance <= 1.01 * distance
        assert row.settled_by(0.2) == "branch-and-bound"
    (run,) = report.certifiers
    assert (run.broken, run.unverified) == (2, 0)


def test_a_suspect_that_does_not_stand_up_is_thrown_out(with_certifiers):
    with_certifiers(branch_and_bound=Truth(reach=0.01))
    report = certify(linear_classifier(), points(), plan(epsilons=(0.2,)))
    assert [row.broken_by for row in report.rows] == [None, None, None, "clean"]
    assert verdicts(report, 0.2)[1:3] == [Verdict.UNDECIDED] * 2
    assert report.certifiers[0].unverified >= 2


def test_a_certificate_that_an_example_contradicts_stops_the_evaluation(
    with_certifiers,
):
    with_certifiers(interval=Truth(share=1.5))
    with pytest.raises(ConsistencyError, match="certified by interval"):
        evaluate(linear_classifier(), points(), plan(epsilons=(0.1, 0.16, 0.3)))


def test_a_spent_budget_leaves_samples_undecided_and_says_so(with_certifiers):
    with_certifiers(branch_and_bound=Truth())
    report = certify(
        linear_classifier(), points(), plan(epsilons=(0.01,), certify_seconds=0.0)
    )
    assert verdicts(report, 0.01)[:3] == [Verdict.UNDECIDED] * 3
    (finding,) = (f for f in report.findings if f.rule == "certify-time-spent")
    assert "3 of 4 samples" in finding.message
    assert not report.certifiers or report.certifiers[0].balls == 0


def test_cheap_certifiers_have_their_look_whatever_the_budget(with_certifiers):
    with_certifiers(interval=Truth())
    report = certify(
        linear_classifier(), points(), plan(epsilons=(0.01,), certify_seconds=0.0)
    )
    assert verdicts(report, 0.01)[:3] == [Verdict.CERTIFIED] * 3
    assert report.rows[0].certified_radius == 0.01


@pytest.mark.parametrize(
    ("effort", "seconds"), [(Effort.FAST, 1.0), (Effort.TIGHT, 10.0)]
)
def test_a_higher_effort_gives_a_sample_more_time(with_certifiers, effort, seconds):
    patient = Truth(pause=5.0)
    with_certifiers(branch_and_bound=patient)
    report = certify(
        linear_classifier(), points(), plan(epsilons=(0.01,), effort=effort)
    )
    assert max(patient.seen.seconds) == seconds
    settled = Verdict.CERTIFIED if seconds > 5.0 else Verdict.UNDECIDED
    assert verdicts(report, 0.01)[:3] == [settled] * 3


def test_certifiers_stay_clear_of_the_time_limit():
    asked = plan(certify_seconds=60.0)
    names = ("interval", "branch-and-bound")
    free = Deadline(None).allowance(asked, names, 10)
    short = Deadline(30.0).allowance(asked, names, 10)
    over = Deadline(0.0).allowance(asked, names, 10)
    assert free.verdict == 60.0
    assert 10 * (short.verdict + short.radius) <= 15.0
    assert (over.verdict, over.radius) == (0.0, 0.0)


def test_a_limit_reaches_the_certifiers(with_certifiers):
    truth = Truth()
    with_certifiers(branch_and_bound=truth)
    certify(
        linear_classifier(),
        points(),
        plan(epsilons=(0.01,), certify_seconds=60.0),
        Surroundings(seconds=8.0),
    )
    assert 0.0 < max(truth.seen.seconds) <= 1.0


@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_a_radius_lies_between_what_is_certified_and_what_is_broken(
    with_certifiers, norm
):
    with_certifiers(interval=Truth(share=0.5), crown=Truth(share=0.9))
    report = evaluate(linear_classifier(), points(), plan(norm, (0.05, 0.6)))
    for row, distance in zip(report.rows[:3], distances(norm)[:3], strict=True):
        assert 0.88 * distance <= row.certified_radius <= 0.9 * distance
        assert row.certified_by == "crown"


def test_a_certifier_that_gets_no_further_than_a_cheaper_one_has_one_look(
    with_certifiers,
):
    cheap, dear = Truth(share=0.9), Truth(share=0.9)
    with_certifiers(interval=cheap, crown=dear)
    report = certify(linear_classifier(), points(), plan(epsilons=(0.05, 0.6)))
    assert [row.certified_by for row in report.rows[:3]] == ["interval"] * 3
    assert len([r for gap, r in dear.seen.balls if gap == 0.8]) <= 2


def test_radii_of_samples_without_an_example_end_at_the_largest_epsilon(
    with_certifiers,
):
    with_certifiers(crown=Truth())
    report = certify(linear_classifier(), points(), plan(epsilons=(0.01, 0.2)))
    assert report.rows[0].certified_radius == 0.2
    assert 0.147 <= report.rows[2].certified_radius < 0.15


def test_a_dear_certifier_moves_radii_where_the_effort_is_not_fast(with_certifiers):
    for effort, share in ((Effort.FAST, 0.5), (Effort.TIGHT, 1.0)):
        with_certifiers(interval=Truth(share=0.5), alpha_crown=Truth())
        report = certify(
            linear_classifier(), points(), plan(epsilons=(0.01, 0.3), effort=effort)
        )
        assert report.rows[2].certified_radius == pytest.approx(0.15 * share, rel=0.02)


def test_a_certifier_that_refuses_late_is_a_finding_and_the_others_go_on(
    with_certifiers,
):
    with_certifiers(interval=Refusing(), crown=Truth())
    report = certify(linear_classifier(), points(), plan(epsilons=(0.1,)))
    (finding,) = (f for f in report.findings if f.rule == "certifier-refused")
    assert finding.message == "interval: layer 'head': linear has no rule here."
    assert report.rows[0].settled_by(0.1) == "crown"


def test_names_are_taken_cheapest_first_and_oracles_only_by_name(with_certifiers):
    with_certifiers(interval=Truth(), crown=Truth(), milp=Truth())
    assert certifier_names(()) == ("interval", "crown")
    assert certifier_names(("milp", "interval")) == ("interval", "milp")
    with pytest.raises(UnknownNameError, match="'nope'"):
        certifier_names(("nope",))


def random_net():
    net = nets.settled(nets.mlp(6, 8, 3))
    model = load_torchscript(nets.scripted(net), input_shape=(6,))
    inputs = torch.rand(10, 6, generator=torch.Generator().manual_seed(4))
    return model, Samples(inputs, model.logits(inputs).argmax(1), "random", "0" * 64)


@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_the_same_seed_gives_the_same_document(norm):
    model, samples = random_net()
    asked = plan(norm, (0.01, 0.05, 0.2), certify_seconds=30.0)
    documents = [
        without_times(to_document(evaluate(model, samples, asked))) for _ in range(2)
    ]
    assert documents[0] == documents[1]


def test_a_document_says_what_certifiers_cost_and_comes_back_as_it_was():
    model, samples = random_net()
    report = evaluate(model, samples, plan(epsilons=(0.01, 0.2)))
    document = issue(report)
    shown = {run["name"]: run for run in document["certifiers"]}
    assert shown["interval"]["balls"] >= shown["interval"]["proved"] > 0
    assert from_document(document).certifiers == report.certifiers
    older = {key: value for key, value in document.items() if key != "certifiers"}
    assert from_document(older).certifiers == ()


class Slow(Truth):
    """Takes its time, whatever it is given."""

    def prove(self, task, radii, seconds=math.inf):
        time.sleep(0.05 * len(task))
        return Truth.prove(self, task, radii, seconds)


def test_a_certifier_that_takes_too_long_has_one_sample_to_show_it(with_certifiers):
    slow, quick = Slow(), Truth()
    with_certifiers(alpha_crown=slow, branch_and_bound=quick)
    asked = plan(epsilons=(0.01,), certify_seconds=0.03)
    report = certify(linear_classifier(), points(), asked)
    assert len(slow.seen.balls) == 1
    assert len(quick.seen.balls) == 2
    assert verdicts(report, 0.01)[:3] == [Verdict.CERTIFIED] * 3


def test_one_step_of_a_radius_does_not_take_all_its_time(with_certifiers):
    truth = Truth()
    with_certifiers(branch_and_bound=truth)
    asked = plan(epsilons=(0.01, 0.3), effort=Effort.TIGHT, certify_seconds=8.0)
    report = certify(linear_classifier(), points(), asked)
    verdicts_given = {truth.seen.least.pop(epsilon) for epsilon in (0.01, 0.3)}
    assert min(verdicts_given) > 4.0
    assert max(truth.seen.least.values()) <= 2.0
    assert report.rows[2].certified_radius > 0.01


def test_a_complete_certifier_uses_up_the_time_of_what_it_leaves_open(with_certifiers):
    idle, late = Truth(share=0.0), Truth()
    with_certifiers(branch_and_bound=idle, local_lipschitz=late)
    report = certify(linear_classifier(), points(), plan(epsilons=(0.01,)))
    assert not late.seen.balls
    assert "certify-time-spent" in {finding.rule for finding in report.findings}


def test_progress_is_told_by_certifier_and_epsilon(with_certifiers):
    heard = []
    with_certifiers(branch_and_bound=Truth(reach=1.0))
    certify(
        linear_classifier(),
        points(),
        plan(epsilons=(0.2,)),
        Surroundings(heard.append),
    )
    stages = [progress.stage for progress in heard]
    assert "branch-and-bound at linf 0.2" in stages
    assert "1 of 3 proved" in [progress.note for progress in heard]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (None, ()),
        (["auto"], ()),
        (["crown"], ("crown",)),
        (["crown, interval", "crown"], ("crown", "interval")),
    ],
)
def test_certifiers_are_named_one_by_one_or_with_commas(words, names):
    assert options.certifiers(words) == names


@pytest.mark.parametrize("words", [[""], ["auto,crown"], ["crown,"]])
def test_words_that_name_no_certifiers_are_refused(words):
    with pytest.raises(UnknownNameError):
        options.certifiers(words)
