"""A convolutional net through a whole study: trained, written, loaded, evaluated."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

import pytest
from torch.nn import functional

from robustcert.evaluation.load import load_model
from robustcert.experiments.arms import Arm
from robustcert.experiments.comparison import comparison
from robustcert.experiments.sources import Source, built_in_source
from robustcert.experiments.study import limited, run_study
from robustcert.experiments.study_report import study_page
from robustcert.results.effort import Effort
from robustcert.train.interface import Batch

pytestmark = pytest.mark.slow

ARMS = (
    Arm("plain", "erm"),
    Arm("CLIP", "clip", ("lambda=0.1", "pairs=16")),
    Arm("CLIP+", "clip+", ("lambda=0.1", "pairs=16", "every=1")),
)
MEASURED = 8
EACH = pytest.mark.parametrize("name", [arm.name for arm in ARMS])


def small(batch: Batch) -> Batch:
    """The images with a 16th of the pixels, each the mean of its square."""
    return Batch(functional.avg_pool2d(batch.inputs, 4), batch.targets)


def small_images() -> Source:
    """Built-in images, so small that bounds of the net take seconds."""
    whole = built_in_source()
    return replace(whole, training=small(whole.training), test=small(whole.test))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Study, source, folder, and the outcome of each arm by its name."""
    study = limited(comparison(epochs=1), MEASURED)
    study = replace(
        study,
        net="madry-conv",
        plan=replace(study.plan, batch=4, rate=2e-3),
        arms=ARMS,
        measures=replace(
            study.measures,
            epsilons=(0.05, 0.25, 1.0),
            certifiers=("crown",),
            effort=Effort.FAST,
        ),
    )
    source, folder = small_images(), tmp_path_factory.mktemp("conv")
    outcomes = run_study(study, source, (0,), folder)
    return study, source, folder, {outcome.arm: outcome for outcome in outcomes}


@EACH
def test_a_net_with_convolutions_learns_more_than_chance_in_one_epoch(done, name):
    one = done[3][name]
    assert one.epochs[0].loss < math.log(10.0)
    assert one.train > 0.15
    assert one.test > 0.12


@EACH
def test_the_penalty_acts_in_every_arm_that_has_one(done, name):
    line = done[3][name].epochs[0]
    assert (line.penalty is None) == (name == "plain")
    assert line.weight == (0.0 if name == "plain" else 0.1)


@EACH
def test_the_written_net_is_the_one_that_was_measured(done, name):
    _, source, folder, outcomes = done
    one = outcomes[name]
    data = (folder / one.model).read_bytes()
    assert hashlib.sha256(data).hexdigest() == one.sha256
    loaded = load_model(data, sample_shape=(1, 7, 7))
    right = loaded.logits(source.test.inputs).argmax(dim=1) == source.test.targets
    assert float(right.double().mean()) == pytest.approx(one.test)


@EACH
def test_what_is_proved_and_what_attacks_leave_enclose_the_truth(done, name):
    one = done[3][name]
    assert one.samples == MEASURED
    sides = zip(one.certified, one.robust, strict=True)
    assert all(low <= high <= one.clean for low, high in sides)
    assert list(one.robust) == sorted(one.robust, reverse=True)
    assert list(one.certified) == sorted(one.certified, reverse=True)
    assert one.certified_at(0.05) > 0.0


@EACH
def test_the_lipschitz_bounds_stand_in_the_right_order(done, name):
    one = done[3][name]
    assert 0.0 < one.lower <= one.upper <= one.product * (1.0 + 1e-9)


def test_pairs_leave_a_flatter_net_than_none(done):
    lowers = {name: one.lower for name, one in done[3].items()}
    assert max(lowers["CLIP"], lowers["CLIP+"]) < lowers["plain"]


def test_the_page_of_the_study_has_a_line_for_each_arm(done):
    study, source, _, outcomes = done
    page = study_page(study, source, list(outcomes.values()))
    for table in page.tables:
        assert [row[0] for row in table.rows] == [arm.name for arm in ARMS]
