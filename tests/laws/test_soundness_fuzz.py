"""The fuzz notices a certifier that claims too much, even by one percent."""

from __future__ import annotations

import math

import pytest
import torch

from robustcert.certify.interface import Proof
from robustcert.graph.execute import run
from robustcert.results.norm import THREAT_NORMS
from tests.laws import soundness_fuzz
from tests.laws.fuzz_nets import FAMILIES, fuzz_net
from tests.laws.soundness_fuzz import Trial


class Claiming:
    """Claims the exact radius of a linear net of two classes, times a factor."""

    def __init__(self, norm, factor):
        self.norm, self.factor = norm, factor

    def prove(self, task, radii, _seconds=math.inf):
        return Proof(radii <= self.radii(task, radii))

    def radii(self, task, _most):
        points = task.inputs.clone().requires_grad_()
        with torch.enable_grad():
            logits = run(task.graph, points)
            gaps = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
            (slopes,) = torch.autograd.grad(gaps.sum(), points)
        lengths = torch.linalg.vector_norm(
            slopes.flatten(1), ord=self.norm.dual.value, dim=1
        )
        return self.factor * gaps.detach().abs() / lengths


def trial_of(monkeypatch, factor, norm, seed, attacked=0):
    monkeypatch.setitem(
        soundness_fuzz.CERTIFIERS, "claiming", lambda _, norm: Claiming(norm, factor)
    )
    net = next(
        net
        for net in (fuzz_net("linear", number) for number in range(seed, seed + 99))
        if net.graph.outputs < 3 and net.graph.layers[0].size > 1
    )
    return Trial(net, "claiming", norm, seed, attacked=attacked).run()


@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_a_claim_one_percent_too_large_is_noticed(monkeypatch, norm):
    found = [trial_of(monkeypatch, 1.01, norm, seed) for seed in range(0, 60, 12)]
    assert any(tally.broken for tally in found)
    kinds = {line.split(":")[0] for tally in found for line in tally.broken}
    assert {"network", "model"} <= kinds


@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_a_claim_one_percent_too_small_is_not(monkeypatch, norm):
    for seed in range(0, 60, 12):
        tally = trial_of(monkeypatch, 0.99, norm, seed)
        assert tally.points > 0
        assert tally.broken == []


def test_the_engines_attacks_break_a_claim_three_times_too_large(monkeypatch):
    tally = trial_of(monkeypatch, 3.0, THREAT_NORMS[0], 24, attacked=2)
    assert tally.attacked == 2
    assert any(line.startswith("attack: claiming") for line in tally.broken)


def test_a_net_is_made_again_from_its_family_and_seed():
    for seed, family in enumerate(FAMILIES):
        one, other = fuzz_net(family, seed), fuzz_net(family, seed)
        inputs = torch.rand(2, *one.graph.input_shape).double()
        assert torch.equal(run(one.graph, inputs), run(other.graph, inputs))
        assert one.box == other.box
