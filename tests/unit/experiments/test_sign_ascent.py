"""The attack of the paper, on nets whose distance to the other class is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from robustcert.experiments.selecting import AttackAccuracy
from robustcert.experiments.sign_ascent import SignAscent
from robustcert.results.norm import Norm
from robustcert.results.threat_model import Box, ThreatModel
from robustcert.tensors import lp_norms
from robustcert.train.interface import Batch, Epoch
from robustcert.train.losses import CrossEntropy
from robustcert.train.selection import Candidate

SIZE = 16
WIDE = Box(-10.0, 10.0)


class Half(nn.Module):
    """Class 1 where the coordinates' sum is above 0; what it saw is kept."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, inputs):
        self.seen.append(inputs.detach())
        score = inputs.flatten(1).sum(dim=1)
        return torch.stack([-score, score], dim=1)


def ascent(epsilon, *, box=WIDE, steps=30):
    return SignAscent(ThreatModel(Norm.L2, epsilon, box), epsilon / 5.0, steps)


def samples_at(*distances):
    """Inputs of class 1 at these L2 distances from the other class."""
    rows = torch.tensor(distances)[:, None] / math.sqrt(SIZE)
    return Batch(rows.expand(-1, SIZE).clone(), torch.ones(len(distances)).long())


def test_where_the_sign_is_steepest_the_attack_breaks_just_what_can_be_broken():
    batch = samples_at(0.5, 0.95, 1.05, 3.0)
    assert ascent(1.0).accuracy(Half(), batch) == 0.5


def test_a_wrong_sample_counts_as_broken_without_a_step():
    assert ascent(1.0, steps=0).accuracy(Half(), samples_at(-1.0, 1.0)) == 0.5


def test_every_iterate_lies_in_ball_and_box():
    net, box = Half(), Box(0.0, 0.3)
    batch = samples_at(0.4, 0.8)
    ascent(1.0, box=box).accuracy(net, batch)
    for points in net.seen:
        assert float(points.min()) >= 0.0
        assert float(points.max()) <= 0.3
        near = torch.cdist(points, batch.inputs).amin(dim=1)
        assert float(near.max()) <= 1.0 + 1e-5


def test_a_broken_sample_stays_broken():
    class Twitching(nn.Module):
        """Wrong in a thin shell only: a later step leads out of it again."""

        def forward(self, inputs):
            far = lp_norms(inputs.detach(), Norm.L2)
            score = torch.where((far > 0.7) & (far < 0.9), -1.0, 1.0)
            slope = 0.01 * inputs.flatten(1).sum(dim=1)
            return torch.stack([torch.zeros_like(score), score - slope], dim=1)

    batch = Batch(torch.zeros(1, SIZE), torch.ones(1).long())
    assert ascent(1.0).accuracy(Twitching(), batch) == 0.0


def test_no_parameter_gets_a_gradient():
    net = nn.Linear(SIZE, 2)
    ascent(1.0, steps=3).accuracy(net, samples_at(0.5))
    assert net.weight.grad is None


def test_epochs_before_the_first_that_counts_have_no_score():
    selection = AttackAccuracy(ascent(1.0), count=2, first=3)
    scores = [
        selection(
            Candidate(
                Half(), samples_at(0.5, 2.0, 0.1), CrossEntropy(),
                Epoch(number, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
            )
        )
        for number in (2, 3)
    ]  # fmt: skip
    assert math.isnan(scores[0])
    assert scores[1] == pytest.approx(0.5)
