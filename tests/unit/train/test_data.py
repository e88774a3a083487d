"""Examples split into the parts of a training, and batches of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robustcert.errors import SamplesError, UsageError
from robustcert.results.threat_model import UNIT_BOX, Box
from robustcert.train.data import (
    Shares,
    check_alike,
    load_training_data,
    output_count,
    split,
)
from robustcert.train.feed import Extra, Feed
from robustcert.train.interface import Batch
from tests.unit.train.problems import regression, two_clouds

TENTHS = Shares(0.1, 0.2)


def numbered(count: int) -> Batch:
    """Examples that say which they are."""
    which = torch.arange(count)
    return Batch(which[:, None] / float(count), which)


def test_each_example_is_dealt_to_exactly_one_part():
    data = split(numbered(50), 3, TENTHS, box=UNIT_BOX, name="numbers")
    parts = (data.training, data.reserve, data.validation)
    assert [len(part) for part in parts] == [35, 5, 10]
    dealt = torch.cat([part.targets for part in parts])
    assert dealt.msort().tolist() == list(range(50))
    for part in parts:
        assert torch.equal((part.inputs[:, 0] * 50).round(), part.targets.float())


def test_the_seed_decides_the_split():
    first, again, other = (
        split(numbered(50), seed, TENTHS, box=UNIT_BOX, name="").training.targets
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("shares", [(-0.1, 0.1), (0.5, 0.5), (float("nan"), 0.1)])
def test_shares_that_leave_nothing_to_train_on_are_refused(shares):
    with pytest.raises(UsageError, match="leave nothing"):
        Shares(*shares)


def test_the_built_in_set_becomes_training_data():
    data = load_training_data("fashion-mnist-500", 0, TENTHS, UNIT_BOX)
    assert [len(data.training), len(data.reserve), len(data.validation)] == [
        350,
        50,
        100,
    ]
    assert data.training.inputs.shape[1:] == (1, 28, 28)
    assert data.training.inputs.dtype == torch.float32
    assert output_count(data) == 10


def test_an_npz_file_becomes_training_data(tmp_path):
    inputs = np.linspace(0.0, 1.0, 40).reshape(20, 2)
    np.savez(tmp_path / "mine.npz", inputs=inputs, labels=np.arange(20) % 3)
    data = load_training_data(str(tmp_path / "mine.npz"), 0, TENTHS, UNIT_BOX)
    assert (data.name, len(data.training), output_count(data)) == ("mine", 14, 3)
    assert data.training.inputs.dtype == torch.float32


@pytest.mark.parametrize("name", ["nowhere.npz", "no-such-set"])
def test_examples_that_are_not_there_are_refused(name):
    with pytest.raises(SamplesError, match="no readable file"):
        load_training_data(name, 0, TENTHS, UNIT_BOX)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(SamplesError, match="holds no train-images"):
        load_training_data(str(tmp_path), 0, TENTHS, UNIT_BOX)


def test_inputs_outside_the_box_are_refused():
    with pytest.raises(SamplesError, match="outside the box"):
        load_training_data("fashion-mnist-500", 0, TENTHS, Box(0.0, 0.5))


def test_a_regression_needs_one_output_a_value():
    assert output_count(regression()) == 1


def test_a_class_that_only_validation_holds_has_an_output():
    data = split(numbered(10), 0, TENTHS, box=UNIT_BOX, name="")
    assert output_count(data) == 10


def test_batches_hold_the_examples_once_and_extra_ones_at_their_share():
    more = Batch(torch.full((7, 1), 2.0), torch.full((7,), -1))
    feed = Feed(numbered(30), 16, 0, Extra(more, 0.5))
    batches = list(feed.epoch(0))
    assert feed.steps == len(batches) == 4
    assert [len(batch) for batch in batches] == [16, 16, 16, 12]
    targets = torch.cat([batch.targets for batch in batches])
    assert int((targets == -1).sum()) == 30
    assert targets[targets >= 0].msort().tolist() == list(range(30))


def test_an_epoch_asked_for_again_is_the_same_and_the_next_is_not():
    feed = Feed(numbered(30), 16, 0, Extra(numbered(30), 0.25))
    first, again, other = (
        torch.cat([batch.targets for batch in feed.epoch(number)])
        for number in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_that_leaves_no_training_examples_is_refused(share):
    with pytest.raises(UsageError, match="no share"):
        Extra(numbered(3), share)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (Batch(torch.zeros(1, 3), torch.zeros(1, dtype=torch.long)), "shape"),
        (Batch(torch.zeros(1, 2), torch.zeros(1, 1)), "the other values"),
        (Batch(torch.zeros(1, 2), torch.tensor([7])), "go up to 7"),
    ],
)
def test_extra_examples_of_another_kind_are_refused(more, message):
    with pytest.raises(SamplesError, match=message):
        check_alike(more, two_clouds())
