"""Trainings that are ended and resumed."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
import torch

from robustcert.errors import UsageError
from robustcert.train.checkpoint import Checkpoint
from robustcert.train.interface import Plan, Trainer
from robustcert.train.loop import train
from robustcert.train.losses import CrossEntropy
from robustcert.train.options import options_from_words
from robustcert.train.registry import TRAINERS, trainer_named
from robustcert.train.selection import validation
from robustcert.train.weights import Fixed
from tests.unit.train.problems import bits, small_net, two_clouds

PLAN = Plan(epochs=4, batch=16, schedule="one-cycle")
ERM = Trainer(CrossEntropy(), None, Fixed(0.0))


class EndedError(Exception):
    """Somebody ended the training."""


def ends_in_epoch(number, steps):
    """A listener that ends the training within an epoch."""

    def listen(progress):
        if progress.done > number * steps:
            raise EndedError

    return listen


def prepared(name, net, data, plan, words=()):
    row = trainer_named(name)
    return row.prepare(net, data, options_from_words(row.options, words), plan)


@pytest.mark.parametrize("name", TRAINERS)
def test_a_resumed_training_gives_the_bits_of_an_uninterrupted_one(name, tmp_path):
    data, kept = two_clouds(), Checkpoint(tmp_path / "kept", {})
    whole = small_net()
    wanted = train(whole, data, prepared(name, whole, data, PLAN), PLAN)
    net = small_net()
    with pytest.raises(EndedError):
        train(
            net,
            data,
            prepared(name, net, data, PLAN),
            PLAN,
            listener=ends_in_epoch(2, 5),
            checkpoint=kept,
        )
    net = small_net()
    trainer = prepared(name, net, data, PLAN)
    found = train(net, data, trainer, PLAN, checkpoint=kept)
    assert len(found.epochs) == PLAN.epochs
    assert bits(found.model) == bits(wanted.model)
    # seconds differ, and NaN is not itself
    lines = [
        [str(replace(epoch, seconds=0.0)) for epoch in trained.epochs]
        for trained in (found, wanted)
    ]
    assert lines[0] == lines[1]


@pytest.mark.parametrize("words", [["target=.7", "increment=.01"], ["limit=.5"]])
def test_a_moving_weight_is_resumed_where_it_stood(words, tmp_path):
    data, kept = two_clouds(), Checkpoint(tmp_path / "kept", {})
    whole, net = small_net(), small_net()
    wanted = train(whole, data, prepared("clip+", whole, data, PLAN, words), PLAN)
    with pytest.raises(EndedError):
        train(
            net,
            data,
            prepared("clip+", net, data, PLAN, words),
            PLAN,
            listener=ends_in_epoch(2, 5),
            checkpoint=kept,
        )
    trainer = prepared("clip+", net, data, PLAN, words)
    found = train(small_net(), data, trainer, PLAN, checkpoint=kept)
    weights = [epoch.weight for epoch in found.epochs]
    assert weights == [epoch.weight for epoch in wanted.epochs]
    assert len(set(weights)) > 1
    assert bits(found.model) == bits(wanted.model)


def test_the_best_epoch_before_the_interruption_is_remembered(tmp_path):
    data, kept = two_clouds(), Checkpoint(tmp_path / "kept", {})

    def first(candidate):
        return -float(candidate.epoch.number)

    with pytest.raises(EndedError):
        train(
            small_net(),
            data,
            ERM,
            PLAN,
            listener=ends_in_epoch(2, 5),
            checkpoint=kept,
            selection=first,
        )
    found = train(small_net(), data, ERM, PLAN, checkpoint=kept, selection=first)
    wanted = train(small_net(), data, ERM, PLAN, selection=first)
    assert found.best == wanted.best == 0
    assert bits(found.model) == bits(wanted.model)


def test_a_finished_training_is_read_back_without_a_step(tmp_path):
    kept = Checkpoint(tmp_path / "kept", {})
    done = train(small_net(), two_clouds(), ERM, PLAN, checkpoint=kept)

    def never(model, batch, moment):
        raise EndedError

    trainer = Trainer(never, None, Fixed(0.0))
    again = train(small_net(), two_clouds(), trainer, PLAN, checkpoint=kept)
    assert bits(again.model) == bits(done.model)


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("plan", {"plan": replace(PLAN, seed=1)}),
        ("net", {"net": "mlp:8,7"}),
        ("data", {"count": 121}),
        ("trainer", {"about": {"trainer": "clip"}}),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(what, change, tmp_path):
    def run(plan=PLAN, net="mlp:8,6", count=120, about=None):
        kept = Checkpoint(tmp_path / "kept", about or {"trainer": "erm"})
        return train(small_net(net), two_clouds(count), ERM, plan, checkpoint=kept)

    run()
    with pytest.raises(UsageError, match=f"another training: {what} differs") as caught:
        run(**change)
    assert "anew" in caught.value.remedy


def test_no_unfinished_file_is_left_beside_the_checkpoint(tmp_path):
    kept = Checkpoint(tmp_path / "deep" / "kept", {})
    train(small_net(), two_clouds(), ERM, PLAN, checkpoint=kept, selection=validation)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["kept"]


class Bomb:
    """Runs code where a file is unpickled without care."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04" + b"\0" * 60])
def test_a_file_that_is_no_checkpoint_is_refused(content, tmp_path):
    (tmp_path / "kept").write_bytes(content)
    with pytest.raises(UsageError, match=r"cannot be read|no checkpoint"):
        train(
            small_net(),
            two_clouds(),
            ERM,
            PLAN,
            checkpoint=Checkpoint(tmp_path / "kept", {}),
        )


def test_a_hostile_checkpoint_runs_nothing(tmp_path):
    mark = tmp_path / "exploded"
    torch.save({"version": 1, "mark": Bomb(mark)}, tmp_path / "torch")
    (tmp_path / "plain").write_bytes(pickle.dumps(Bomb(mark)))
    for name in ("torch", "plain"):
        kept = Checkpoint(tmp_path / name, {})
        with pytest.raises(UsageError, match="cannot be read"):
            train(small_net(), two_clouds(), ERM, PLAN, checkpoint=kept)
    assert not mark.exists()


@pytest.mark.parametrize(
    "content", [7, {"version": 2}, {"version": 1}, {"version": 1, "mark": 3}]
)
def test_tensors_that_are_no_training_are_refused(content, tmp_path):
    torch.save(content, tmp_path / "kept")
    kept = Checkpoint(tmp_path / "kept", {})
    with pytest.raises(UsageError, match=r"cannot be read|is no checkpoint"):
        train(small_net(), two_clouds(), ERM, PLAN, checkpoint=kept)


def test_a_truncated_checkpoint_is_refused(tmp_path):
    kept = Checkpoint(tmp_path / "kept", {})
    train(small_net(), two_clouds(), ERM, PLAN, checkpoint=kept)
    whole = kept.path.read_bytes()
    kept.path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match="cannot be read"):
        train(small_net(), two_clouds(), ERM, PLAN, checkpoint=kept)


def test_a_checkpoint_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("in the way")
    kept = Checkpoint(tmp_path / "file" / "kept", {})
    with pytest.raises(UsageError, match="cannot be"):
        train(small_net(), two_clouds(), ERM, PLAN, checkpoint=kept)
