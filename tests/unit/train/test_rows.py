"""Trainers with margins, attacks or bounds, as the registry makes them."""

from __future__ import annotations

import pytest
import torch

from robustcert.errors import SamplesError
from robustcert.train.ascent_options import AscentOptions
from robustcert.train.clip_rows import MarginClipPlusTraining
from robustcert.train.interface import Moment, Plan
from robustcert.train.interval import CrownIntervalOptions, IntervalOptions
from robustcert.train.loop import train
from robustcert.train.margin import MarginFit, MarginOptions, margin_fit
from robustcert.train.registry import TRAINERS, trainer_named
from robustcert.train.trades import TradesOptions
from tests.unit.train.problems import small_net, two_clouds
from tests.unit.train.robust_cases import plane_data, plane_net

NEAR = 0.05
"""The defaults are for images; they would swallow the unit square."""

OPTIONS = {
    "margin": MarginOptions(NEAR),
    "margin-clip+": MarginClipPlusTraining(MarginOptions(NEAR)),
    "adversarial": AscentOptions(NEAR),
    "trades": TradesOptions(ascent=AscentOptions(NEAR)),
    "interval": IntervalOptions(NEAR),
    "crown-interval": CrownIntervalOptions(NEAR),
}
PLAN = Plan(epochs=12, batch=24, rate=0.02)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_robust_trainer_learns_two_clouds(name):
    net, data = small_net("mlp:16,16"), two_clouds()
    trainer = TRAINERS[name].prepare(net, data, OPTIONS[name], PLAN)
    found = train(net, data, trainer, PLAN)
    assert found.epochs[-1].accuracy > 0.85
    assert found.epochs[-1].accuracy > found.epochs[0].accuracy


def test_margin_with_clip_plus_is_the_margin_fit_and_a_weighted_penalty():
    net, data, moment = small_net(), two_clouds(), Moment(0, 99, 100)
    options = MarginClipPlusTraining()
    trainer = trainer_named("margin-clip+").prepare(net, data, options, PLAN)
    alone = margin_fit(net, data, MarginOptions(), PLAN)
    assert isinstance(trainer.fit, MarginFit)
    ours, theirs = (fit(net, data.training, moment) for fit in (trainer.fit, alone))
    assert torch.equal(ours.loss, theirs.loss)
    assert trainer.weight.value == options.weight.lambda_ > 0.0
    assert trainer.penalty is not None
    assert float(trainer.penalty.value(net, moment).detach()) > 0.0


def test_margin_with_clip_plus_needs_inputs_that_are_held_back():
    row = trainer_named("margin-clip+")
    with pytest.raises(SamplesError):
        row.prepare(plane_net(), plane_data(), row.options(), PLAN)
