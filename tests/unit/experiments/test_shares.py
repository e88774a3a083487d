"""Accuracies of nets that are right by construction."""

from __future__ import annotations

import torch
from torch import nn

from robustcert.experiments.shares import accuracy, median_margin, noisy_accuracy
from robustcert.train.interface import Batch


class Sign(nn.Module):
    """Class 1 where the only coordinate is above 0; the margin is its size."""

    def forward(self, inputs):
        return torch.cat([-inputs, inputs], dim=1) / 2.0


def batch(*values):
    inputs = torch.tensor(values)[:, None]
    return Batch(inputs, torch.ones(len(values)).long())


def test_a_tie_is_no_right_answer():
    assert accuracy(Sign(), batch(1.0, 2.0, 0.0, -1.0)) == 0.5


def test_the_median_margin_is_in_logit_units():
    assert median_margin(Sign(), batch(-1.0, 0.5, 3.0)) == 0.5


def test_without_noise_nothing_changes():
    assert noisy_accuracy(Sign(), batch(0.5, -0.5), 0.0, 3) == 0.5


def test_noise_of_the_samples_own_size_breaks_the_share_that_the_normal_law_says():
    many = Batch(torch.ones(20_000, 1), torch.ones(20_000).long())
    found = noisy_accuracy(Sign(), many, 1.0, 0)
    assert abs(found - 0.8413) < 0.01
    assert found == noisy_accuracy(Sign(), many, 1.0, 0)
    assert found != noisy_accuracy(Sign(), many, 1.0, 1)


def test_the_global_generator_is_not_drawn_from():
    before = torch.random.get_rng_state()
    noisy_accuracy(Sign(), batch(1.0), 1.0, 0)
    assert torch.equal(before, torch.random.get_rng_state())
