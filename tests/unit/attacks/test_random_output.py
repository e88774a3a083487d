"""A random model is judged over many draws."""

from __future__ import annotations

import torch

from robustcert.attacks.random_output import (
    RESCORINGS,
    random_accuracy,
    rescored,
    steady,
)
from robustcert.results.report import Level
from robustcert.results.rescoring import Rescoring


class Coin:
    """Right on the class where the first coordinate is above a uniform draw."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, x):
        draw = torch.rand(len(x), generator=self.generator)
        return torch.stack([x[:, 0] - draw, draw - x[:, 0]], 1)


def test_an_example_that_fooled_one_draw_is_no_example(wrap):
    model = wrap(Coin(), (1,), 2)
    inputs = torch.tensor([[0.97], [0.03], [1.5], [-0.5]])
    labels = torch.zeros(4, dtype=torch.int64)
    assert RESCORINGS >= 5
    assert steady(model, inputs, labels, 41).tolist() == [False, True, False, True]
    assert steady(model, inputs[:0], labels[:0]).tolist() == []


def test_robust_accuracy_is_scored_anew_in_every_draw(wrap):
    model = wrap(Coin(), (1,), 2)
    inputs = torch.full((40, 1), 2.0)
    labels = torch.zeros(40, dtype=torch.int64)
    adversarial = {row: torch.tensor([0.5]) for row in range(20)}
    scores = rescored(model, inputs, labels, adversarial)
    assert len(scores.standing) == RESCORINGS
    low, high = scores.robust
    assert 0.5 <= low < 0.75 < high <= 1.0
    assert rescored(model, inputs, labels, {}).standing == (40,) * RESCORINGS


def test_samples_that_come_out_wrong_in_a_draw_do_not_stand_in_it(wrap):
    model = wrap(Coin(), (1,), 2)
    inputs = torch.full((200, 1), 0.5)
    low, high = rescored(model, inputs, torch.zeros(200, dtype=torch.int64), {}).robust
    assert 0.3 < low < high < 0.7


def test_a_model_that_is_not_random_scores_the_same_in_every_draw(bars):
    model, inputs, labels = bars
    low, high = rescored(model, inputs, labels, {}).robust
    assert low == high


def test_the_finding_gives_both_intervals_rounded_outwards():
    found = random_accuracy(Rescoring((40, 50, 45, 45, 45), 100))
    assert (found.rule, found.level) == ("random-accuracy", Level.WARNING)
    space = "\N{NO-BREAK SPACE}"
    for figure in ("5 re-scorings", f"40.0{space}%", f"50.0{space}%", "30.3", "60.2"):
        assert figure in found.message
