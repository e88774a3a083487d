"""The rows clip and clip+ as the loop trains with them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robustcert.errors import SamplesError, UnsupportedLayerError
from robustcert.results.threat_model import UNIT_BOX
from robustcert.train.checkpoint import Checkpoint
from robustcert.train.data import Shares, split
from robustcert.train.interface import Batch, Plan, drawn_from
from robustcert.train.loop import train
from robustcert.train.nets import net_named
from robustcert.train.options import options_from_words
from robustcert.train.registry import trainer_named
from tests.unit.train.problems import small_net, two_clouds

ROWS = pytest.mark.parametrize("name", ["clip", "clip+"])
PLAN = Plan(epochs=4, batch=32, rate=0.02)


def corners(reserve=0.1):
    """Points near two corners of a square, by corner."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 2
    inputs = 0.3 + 0.2 * labels[:, None] + 0.2 * torch.rand(400, 2, generator=generator)
    examples = Batch(inputs, labels)
    return split(examples, 0, Shares(reserve), box=UNIT_BOX, name="corners")


def trained(name, words, dtype=torch.float32, **more):
    row, data = trainer_named(name), corners()
    model = net_named("mlp:16", (2,), 2, drawn_from(0, 3)).to(dtype)
    trainer = row.prepare(model, data, options_from_words(row.options, words), PLAN)
    return train(model, data, trainer, PLAN, **more).model


def steepest(model: nn.Module) -> float:
    """The largest spectral norm of the Jacobian on a grid."""
    ticks = torch.linspace(0.0, 1.0, 30)
    grid = torch.cartesian_prod(ticks, ticks)
    slopes = torch.func.vmap(torch.func.jacrev(lambda x: model(x[None])[0]))(grid)
    return float(torch.linalg.matrix_norm(slopes.detach(), 2).max())


@ROWS
def test_a_larger_lambda_leaves_a_smaller_constant(name):
    constants = [
        steepest(trained(name, [f"lambda={weight}", "pairs=16"]))
        for weight in (0.0, 0.03, 0.3)
    ]
    assert constants[0] > constants[1] > constants[2]
    assert constants[2] < 0.5 * constants[0]


def test_a_limit_of_the_loss_is_kept_and_the_constant_is_what_is_minimised():
    row, data = trainer_named("clip+"), two_clouds()
    plan = Plan(epochs=120, batch=24, rate=0.01)
    last = []
    for words in ([], ["limit=.2", "limited=loss", "ascent=1", "lambda=1"]):
        options = options_from_words(row.options, ["lambda=.001", "every=1", *words])
        net = small_net()
        found = train(net, data, row.prepare(net, data, options, plan), plan)
        last.append(found.epochs[-1])
    free, limited = last
    assert limited.loss == pytest.approx(0.2, abs=0.02)
    assert free.loss < 0.1
    assert limited.penalty < 0.5 * free.penalty


@ROWS
def test_a_model_in_float64_is_trained_with_pairs_in_float64(name):
    model = trained(name, ["lambda=.03", "pairs=8"], torch.float64)
    assert next(model.parameters()).dtype is torch.float64


@ROWS
def test_a_training_that_was_interrupted_ends_with_the_same_bits(name, tmp_path):
    words = ["lambda=.03", "pairs=8", "target=.6", "increment=.01"]
    kept = Checkpoint(tmp_path / "kept.pt", {"trainer": name})
    with pytest.raises(KeyboardInterrupt):
        trained(name, words, checkpoint=kept, listener=interrupt)
    resumed, whole = trained(name, words, checkpoint=kept), trained(name, words)
    for own, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(own, other)


def interrupt(progress):
    """Ends a training in its third epoch."""
    if progress.done > 0.6 * progress.total:
        raise KeyboardInterrupt


@ROWS
def test_a_training_without_reserved_examples_is_refused(name):
    row, data = trainer_named(name), corners(reserve=0.0)
    with pytest.raises(SamplesError, match="reserved"):
        row.prepare(nn.Linear(2, 2), data, row.options(), PLAN)


@ROWS
def test_a_net_that_mixes_the_inputs_of_a_batch_is_refused_by_the_layers_name(name):
    net = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    row = trainer_named(name)
    with pytest.raises(UnsupportedLayerError, match="'1'"):
        row.prepare(net, corners(), row.options(), PLAN)
