"""Which samples are attacked when: radii, hope, patience, certificates."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import nn

from robustcert.attacks.apgd import ROWS
from robustcert.attacks.campaign import Campaign
from robustcert.attacks.catalogue import ATTACKS
from robustcert.attacks.engine import run_attacks
from robustcert.attacks.ledger import Ledger
from robustcert.attacks.rung import Patience, Rung, rungs_of
from robustcert.errors import ModelLoadError, UsageError
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.progress import unheard
from robustcert.results.threat_model import Box, ThreatSweep
from tests.unit.attacks.conftest import striped_pictures

TOP = {Norm.LINF: 0.25, Norm.L2: 1.5}


@dataclass(frozen=True)
class Noted:
    """An attack by what it returns, that notes which pictures it was given."""

    name: str
    finds: object
    minimal: bool = False
    norms: frozenset = frozenset(THREAT_NORMS)
    asked: list = field(default_factory=list)

    def refusal(self, *_):
        return None

    def perturb(self, target):
        self.asked.append((target.threat.epsilon, target.inputs))
        return self.finds(target)

    def sizes(self, epsilon):
        return [len(inputs) for radius, inputs in self.asked if radius == epsilon]


def gives_up(target):
    return target.inputs


@pytest.fixture
def listed(monkeypatch):
    def add(attack):
        monkeypatch.setitem(ATTACKS, attack.name, attack)
        return attack

    return add


@pytest.fixture
def bare(wrap):
    """Class 0 iff x0 >= 1/2, at the distance x0 - 1/2; 100 samples of class 0."""
    model = wrap(lambda x: torch.stack([x[:, 0] - 0.5, 0.5 - x[:, 0]], dim=1), (2,), 2)
    inputs = torch.full((100, 2), 0.5)
    inputs[:, 0] = 0.505 + 0.004 * torch.arange(100)
    return model, inputs, torch.zeros(100, dtype=torch.int64)


def step_down(target):
    moved = target.inputs.clone()
    moved[:, 0] -= target.threat.epsilon
    return moved


def queries(outcome):
    return sum(run.forward_queries + run.backward_queries for run in outcome.runs)


def robust(outcome, epsilon):
    """How many samples are not broken at epsilon."""
    broken = sum(example.distance <= epsilon for example in outcome.examples)
    return len(outcome.margins) - broken


@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_twenty_radii_cost_at_most_twice_the_dearest_of_them(bars, listed, norm):
    model, _, _ = bars
    inputs, labels = striped_pictures(64, seed=5)
    for name in ("apgd-ce", "apgd-t"):
        listed(ROWS[name])
    epsilons = tuple(TOP[norm] * (step + 1) / 20 for step in range(20))
    names = ["apgd-ce", "apgd-t"]
    sweep = run_attacks(model, inputs, labels, ThreatSweep(norm, epsilons), names)
    alone = {
        epsilon: run_attacks(
            model, inputs, labels, ThreatSweep(norm, (epsilon,)), names
        )
        for epsilon in epsilons[::4]
    }
    assert queries(sweep) <= 2 * max(map(queries, alone.values()))
    for epsilon, single in alone.items():
        assert robust(sweep, epsilon) <= robust(single, epsilon) + 1


def test_each_sample_pays_for_one_failure_whatever_the_number_of_radii(bare, listed):
    model, inputs, labels = bare
    row = listed(Noted("step", step_down))
    epsilons = tuple(0.05 * (step + 1) for step in range(8))  # up to .4
    outcome = run_attacks(
        model, inputs, labels, ThreatSweep(Norm.LINF, epsilons), ["step"]
    )
    # The example at distance d is told at .4; only the radius next below d is tried.
    attacked = sum(len(given) for _, given in row.asked)
    assert attacked <= 2 * len(inputs)
    for epsilon in epsilons:
        assert robust(outcome, epsilon) == int((inputs[:, 0] - 0.5 >= epsilon).sum())


def test_what_withstood_a_larger_radius_is_not_attacked_at_a_smaller_one(bare, listed):
    row = listed(Noted("idle", gives_up))
    outcome = run_attacks(*bare, ThreatSweep(Norm.LINF, (0.1, 0.2, 0.3)), ["idle"])
    assert row.sizes(0.3) == [64, 36]
    assert row.sizes(0.2) == row.sizes(0.1) == []
    assert outcome.runs[0].attacked == 100
    assert outcome.examples == ()


def test_a_sample_certified_at_a_small_radius_only_is_open_at_larger_ones(bare, listed):
    row = listed(Noted("step", step_down))
    model, inputs, labels = (
        part if i == 0 else part[-4:] for i, part in enumerate(bare)
    )
    certified = torch.tensor([0.0, 0.15, 0.25, 0.5], dtype=torch.float64)
    sweep = ThreatSweep(Norm.LINF, (0.1, 0.2, 0.3, 0.45))
    run_attacks(model, inputs, labels, sweep, ["step"], certified=certified)
    # All four lie about .4 from the boundary.
    seen = {radius: given[:, 0].tolist() for radius, given in row.asked}
    first, second, third, _ = inputs[:, 0].tolist()
    assert sorted(seen[0.45]) == [first, second, third]
    assert sorted(seen[0.3]) == [first, second, third]
    assert set(seen) == {0.45, 0.3}


def test_certified_and_misclassified_samples_get_no_query(bare, listed):
    row = listed(Noted("step", step_down))
    model, inputs, labels = bare
    labels = labels.clone()
    labels[:50] = 1
    radii = torch.full((100,), 0.3, dtype=torch.float64)
    sweep = ThreatSweep(Norm.LINF, (0.1, 0.2, 0.3))
    outcome = run_attacks(model, inputs, labels, sweep, ["step"], certified=radii)
    (run,) = outcome.runs
    assert row.asked == []
    assert (run.forward_queries, run.backward_queries, run.attacked) == (0, 0, 0)
    assert {example.attack for example in outcome.examples} == {"clean"}


def test_the_samples_nearest_to_their_boundary_are_attacked_first(bare, listed):
    model, inputs, labels = bare
    shuffled = inputs[torch.randperm(100, generator=torch.Generator().manual_seed(0))]
    row = listed(Noted("idle", gives_up))
    run_attacks(model, shuffled, labels, ThreatSweep(Norm.LINF, (0.001,)), ["idle"])
    order = torch.cat([given for _, given in row.asked])[:, 0]
    assert torch.equal(order, order.sort().values)


def test_margins_that_an_attack_reached_lead_the_next_one(bare, listed):
    """The first attack comes near the boundary from the farthest samples only."""

    def half_the_far_ones(target):
        far = target.inputs[:, 0] > 0.8
        moved = target.inputs.clone()
        moved[far, 0] = 0.501
        return moved

    listed(Noted("hint", half_the_far_ones))
    row = listed(Noted("idle", gives_up))
    run_attacks(*bare, ThreatSweep(Norm.LINF, (0.45,)), ["hint", Rung("idle", 1)])
    ((_, given),) = row.asked
    assert bool((given[:26, 0] > 0.8).all())


def test_candidates_outside_the_ball_raise_no_hope(bare, listed):
    def far_outside(target):
        moved = target.inputs.clone()
        moved[target.inputs[:, 0] > 0.8, 0] = 0.501
        return moved

    listed(Noted("hint", far_outside))
    row = listed(Noted("idle", gives_up))
    run_attacks(*bare, ThreatSweep(Norm.LINF, (0.01,)), ["hint", Rung("idle", 1)])
    ((_, given),) = row.asked
    assert bool((given[:, 0] < 0.8).all())


def test_a_rung_ends_after_its_patience_and_the_report_says_whom_it_saw(bare, listed):
    row = listed(Noted("idle", gives_up))
    run = run_attacks(*bare, ThreatSweep(Norm.LINF, (0.1,)), [Rung("idle", 2)]).runs[0]
    assert row.sizes(0.1) == [32, 32]
    assert run.attacked == 64


def test_a_break_gives_a_rung_its_patience_back(bare, listed):
    row = listed(Noted("step", step_down))
    # The nearest 24 break, in the first chunk; the next two chunks are in vain.
    run_attacks(*bare, ThreatSweep(Norm.LINF, (0.1,)), [Rung("step", 2)])
    assert row.sizes(0.1) == [32, 32, 32]


def test_many_radii_cost_a_patient_rung_little_more_than_its_patience(bare, listed):
    model, inputs, labels = bare
    listed(Noted("step", step_down))
    row = listed(Noted("idle", gives_up))
    epsilons = tuple(0.02 * (step + 1) for step in range(20))
    sweep = ThreatSweep(Norm.LINF, epsilons)
    run_attacks(model, inputs, labels, sweep, ["step", Rung("idle", 2)])
    assert 64 <= sum(len(given) for _, given in row.asked) <= 80


def test_patience_ends_after_two_radii_in_vain_and_comes_back_with_a_break():
    patience = Patience(2, 4)
    patience.saw(8, 0)
    assert patience.ended
    patience.enter()
    assert (patience.ended, patience.next_chunk(32)) == (False, 2)
    patience.saw(2, 1)
    assert patience.next_chunk(32) == 8
    for _ in range(2):
        patience.saw(patience.granted, 0)
        patience.enter()
    assert patience.ended
    assert not Patience(None, 4).ended


def test_a_probe_ends_after_two_radii_in_vain_however_few_samples_they_had():
    patience = Patience(1, 32)
    for radius in range(2):
        assert not patience.ended, radius
        patience.saw(3, 0)
        patience.enter()
    assert patience.ended


def test_a_rung_is_patient_for_at_least_one_chunk_and_runs_once():
    with pytest.raises(UsageError, match="patience 0") as caught:
        Rung("pgd", 0)
    assert caught.value.remedy
    assert rungs_of(["pgd", Rung("fgsm", 2), Rung("pgd", 3), "fgsm"]) == (
        Rung("pgd"),
        Rung("fgsm", 2),
    )


def test_the_attack_that_broke_a_sample_last_is_the_first_to_try_again(bare, listed):
    order = []

    def barely(target):  # moves too little for polishing to settle the next radius
        order.append(("step", target.threat.epsilon))
        return step_down(target)

    def idle(target):
        order.append(("idle", target.threat.epsilon))
        return target.inputs

    listed(Noted("idle", idle))
    listed(Noted("step", barely))
    model, inputs, labels = (
        part if i == 0 else part[50:51] for i, part in enumerate(bare)
    )
    run_attacks(
        model, inputs, labels, ThreatSweep(Norm.LINF, (0.1, 0.2, 0.3)), ["idle", "step"]
    )
    # It lies .205 from the boundary: broken at .3 by the second attack, safe at .2,
    # where both have been tried before that is said.
    assert order == [("idle", 0.3), ("step", 0.3), ("step", 0.2), ("idle", 0.2)]


def test_a_minimal_attack_sees_each_sample_once(bare, listed):
    row = listed(Noted("idle", gives_up, minimal=True))
    listed(Noted("step", step_down))
    sweep = ThreatSweep(Norm.LINF, (0.1, 0.2, 0.3))
    run_attacks(*bare, sweep, ["step", "idle"])
    given = torch.cat([inputs for _, inputs in row.asked])[:, 0]
    assert len(given.unique()) == len(given)
    assert {radius for radius, _ in row.asked} == {0.3}


def test_one_wrong_turn_in_an_order_of_epsilons_changes_nothing(bars):
    model, inputs, labels = bars
    first, second = (
        run_attacks(model, inputs, labels, ThreatSweep(Norm.LINF, epsilons), ["pgd"])
        for epsilons in ((0.05, 0.1, 0.15), (0.15, 0.05, 0.1, 0.1))
    )
    assert first.examples == second.examples


def test_progress_tells_the_robust_accuracy_so_far(bare, listed):
    listed(Noted("step", step_down))
    heard = []
    sweep = ThreatSweep(Norm.LINF, (0.1,))
    run_attacks(*bare, sweep, ["step"], listener=heard.append)
    assert [event.done for event in heard] == [64, 100]
    assert "24 broken" in heard[-1].note
    assert "robust accuracy at most 76.0" in heard[-1].note


def test_attacks_that_join_later_take_what_is_still_open(bare, listed):
    step, idle = listed(Noted("step", step_down)), listed(Noted("idle", gives_up))
    model, inputs, labels = bare
    ledger = Ledger(model.logits(inputs).double()[:, 0] * 2, torch.zeros(100).double())
    campaign = Campaign(model, inputs, labels, 0, ledger, unheard)
    sweep = ThreatSweep(Norm.LINF, (0.1, 0.2))
    campaign.run([(idle, None)], sweep)
    assert not ledger.examples()
    campaign.run([(step, None)], sweep)
    assert len(ledger.examples()) == int((inputs[:, 0] - 0.5 < 0.2).sum())
    assert [tally.attack.name for tally in campaign.tallies] == ["idle", "step"]
    assert len(idle.asked) == 2


def test_examples_are_polished_only_where_a_smaller_radius_waits(bare, listed):
    def sideways(target):  # breaks the sample, on a path that shrinking cannot mend
        return step_down(target) + torch.tensor([0.0, 0.1])

    listed(Noted("step", sideways))
    model, inputs, labels = (
        part if i == 0 else part[:20] for i, part in enumerate(bare)
    )
    alone, sweep = (
        run_attacks(model, inputs, labels, ThreatSweep(Norm.L2, epsilons), ["step"])
        for epsilons in ((0.3,), (0.001, 0.3))
    )
    exact = (inputs[:, 0] - 0.5).double()
    found = torch.tensor([e.distance for e in sweep.examples], dtype=torch.float64)
    assert (found / exact).max() < 1.01
    unpolished = torch.tensor([e.distance for e in alone.examples]).double()
    assert (unpolished > found).all()
    assert alone.runs[0].backward_queries == 0


# What a user may bring by mistake, or meets at the edge.


@pytest.fixture
def names():
    return ["fgsm", "apgd-ce"]


def test_one_sample_is_enough(bars, names):
    model, inputs, labels = bars
    sweep = ThreatSweep(Norm.LINF, (0.3,))
    outcome = run_attacks(model, inputs[:1], labels[:1], sweep, names)
    assert len(outcome.examples) == 1


@pytest.mark.parametrize(
    ("epsilons", "box"), [((0.0,), Box(0.0, 1.0)), ((0.1, 0.3), Box(0.5, 0.5))]
)
def test_without_room_nothing_is_asked_and_every_attack_is_listed(
    bars, names, epsilons, box
):
    model, _, labels = bars
    inputs = torch.full((4, 1, 8, 8), 0.5)
    sweep = ThreatSweep(Norm.LINF, epsilons, box)
    outcome = run_attacks(model, inputs, labels[:4], sweep, names)
    assert [run.name for run in outcome.runs] == names
    assert queries(outcome) == 0
    assert {example.attack for example in outcome.examples} <= {"clean"}


def test_where_every_sample_is_wrong_the_robust_accuracy_is_zero(bars, names):
    model, inputs, _ = bars
    wrong = (model.logits(inputs).argmax(dim=1) + 1) % 4
    outcome = run_attacks(model, inputs, wrong, ThreatSweep(Norm.LINF, (0.1,)), names)
    assert robust(outcome, 0.1) == 0
    assert queries(outcome) == 0


def test_a_class_without_samples_is_still_a_target(wrap, names):
    weights = torch.tensor([[1.0, 0.0], [-5.0, -5.0], [0.0, 1.0]])
    model = wrap(lambda x: x @ weights.T, (2,), 3)
    inputs = torch.tensor([[0.6, 0.5], [0.5, 0.55]])
    labels = torch.tensor([0, 2])
    outcome = run_attacks(model, inputs, labels, ThreatSweep(Norm.LINF, (0.2,)), names)
    assert robust(outcome, 0.2) == 0


class NoSingles(nn.Module):
    """Batch statistics at work: a batch of one is refused."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3, track_running_stats=False)

    def forward(self, x):
        return self.norm(x)[:, :2]


def test_a_model_that_refuses_a_batch_of_one_is_refused_with_a_remedy(wrap, names):
    net = NoSingles()
    model = wrap(net, (3,), 2)
    inputs = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(4, dtype=torch.int64)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(ModelLoadError, match="batch of one") as caught:
        run_attacks(model, inputs, labels, ThreatSweep(Norm.LINF, (0.1,)), names)
    assert "batches of any size" in caught.value.remedy
    assert all(torch.equal(net.state_dict()[key], before[key]) for key in before)


def test_a_model_that_refuses_double_precision_is_never_given_any(wrap, bars, names):
    model, inputs, labels = bars

    def single_only(x):
        if x.dtype is not torch.float32:
            raise RuntimeError("expected scalar type Float but found Double")
        return model.function(x)

    strict = wrap(single_only, (1, 8, 8), 4)
    sweep = ThreatSweep(Norm.LINF, (0.1,))
    assert (
        run_attacks(strict, inputs, labels, sweep, names).examples
        == run_attacks(model, inputs, labels, sweep, names).examples
    )


class NoSlope(torch.autograd.Function):
    """The identity, with a gradient that is not a number."""

    @staticmethod
    def forward(_ctx, x):
        return x.clone()

    @staticmethod
    def backward(_ctx, gradient):
        return torch.full_like(gradient, torch.nan)


def test_gradients_that_are_no_numbers_give_a_result_and_a_finding(wrap, bars, names):
    model, inputs, labels = bars
    sloped = wrap(lambda x: model.function(NoSlope.apply(x)), (1, 8, 8), 4)
    sweep = ThreatSweep(Norm.LINF, (0.05, 0.1))
    outcome = run_attacks(sloped, inputs, labels, sweep, names)
    assert robust(outcome, 0.1) <= int((outcome.margins > 0.0).sum())
    assert any("gradients" in finding.rule for finding in outcome.findings)
