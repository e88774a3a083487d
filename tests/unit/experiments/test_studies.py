"""What the studies of the paper train, and what is done with the outcome."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from robustcert.experiments.arms import Arm
from robustcert.experiments.classification import (
    FASHION_MNIST,
    MNIST,
    classification,
    published_parts,
    separate_parts,
)
from robustcert.experiments.comparison import (
    ARMS,
    PLAN,
    STEP_RATIOS,
    comparison,
    equal_accuracy,
    equal_time,
)
from robustcert.experiments.pair_settings import CLIMBS, pair_settings
from robustcert.experiments.sources import built_in_source
from robustcert.experiments.study import kept_outcomes, limited, run_study
from robustcert.experiments.study_report import study_page
from robustcert.experiments.wanted import Mode
from robustcert.results.effort import Effort
from robustcert.train.nets import net_named

STUDIES = [
    *(classification(s, mode) for s in (MNIST, FASHION_MNIST) for mode in Mode),
    comparison(),
    equal_time(),
    equal_accuracy(),
    pair_settings(MNIST),
]


def named(study):
    return study.name


def rows_of(batch):
    return {bytes(row.flatten().numpy().tobytes()) for row in batch.inputs}


@pytest.mark.parametrize("study", STUDIES, ids=named)
def test_every_arm_is_a_trainer_with_options_that_it_knows(study):
    for arm in study.arms:
        assert arm.words["trainer"] == arm.trainer
    assert len({arm.name for arm in study.arms}) == len(study.arms)


@pytest.mark.parametrize("study", STUDIES, ids=named)
def test_every_net_can_be_built_for_images(study):
    net = net_named(study.net, (1, 28, 28), 10, torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert net(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize("setting", [MNIST, FASHION_MNIST], ids=lambda s: s.name)
def test_both_modes_have_every_line_of_the_papers_table(setting):
    figures = list(setting.published.values())
    for mode in Mode:
        arms = classification(setting, mode).arms
        assert [arm.published for arm in arms] == figures


def test_a_target_in_a_name_is_the_one_that_the_weight_follows():
    for study in STUDIES[:4]:
        for arm in study.arms[1:]:
            assert arm.words["options"]["target"] == int(arm.name[-2:]) / 100


def test_pair_settings_change_nothing_but_the_pairs():
    plain, *climbing = pair_settings(MNIST).arms
    published = {arm.name: arm for arm in classification(MNIST, Mode.FAITHFUL).arms}
    assert plain == published["Standard"]
    found = [arm.words["options"] for arm in climbing]
    assert [(each["pairs"], each["tau"]) for each in found] == list(CLIMBS)
    own = published["CLIP90"].words["options"]
    assert own in found
    for options in found:
        assert options | {"pairs": own["pairs"], "tau": own["tau"]} == own


def test_the_published_net_ends_in_a_sigmoid_and_the_corrected_one_does_not():
    ends = {}
    for mode in Mode:
        g = torch.Generator().manual_seed(0)
        ends[mode] = net_named(classification(MNIST, mode).net, (1, 28, 28), 10, g)[-1]
    assert isinstance(ends[Mode.FAITHFUL], torch.nn.Sigmoid)
    assert isinstance(ends[Mode.CORRECTED], torch.nn.Linear)


def test_the_warm_up_leaves_epochs_in_which_the_weight_acts():
    for epochs in (1, 2, 4, 30):
        for arm in classification(MNIST, Mode.FAITHFUL, epochs).arms[1:]:
            assert arm.words["options"]["warm-up"] < epochs


def test_the_paper_selects_by_the_images_it_pairs_and_the_correction_does_not():
    source = built_in_source()
    paper, ours = published_parts(source, 0), separate_parts(source, 0)
    assert rows_of(paper.reserve) == rows_of(paper.validation)
    assert not rows_of(ours.reserve) & rows_of(ours.validation)
    for data in (paper, ours):
        held = rows_of(data.reserve) | rows_of(data.validation)
        assert not rows_of(data.training) & held


@pytest.mark.parametrize("epochs", [None, 24, 100])
def test_at_equal_time_no_training_is_longer_than_plain_by_more_than_half_a_pass(
    epochs,
):
    study = equal_time(epochs)
    plain = study.plan.epochs
    for arm in study.arms:
        passes = study.plan_of(arm, 0).epochs
        assert abs(passes * STEP_RATIOS[arm.name] - plain) <= STEP_RATIOS[arm.name] / 2


def test_at_equal_time_even_one_plain_epoch_leaves_every_arm_one():
    study = equal_time(1)
    assert {study.plan_of(arm, 0).epochs for arm in study.arms} == {1}


def test_the_table_at_equal_time_says_how_long_a_step_of_each_arm_takes():
    for name, ratio in STEP_RATIOS.items():
        assert f"{name} {ratio:g}" in equal_time().notes[-1]


def test_the_levelled_studies_differ_from_the_comparison_in_what_they_level_alone():
    timed, levelled = equal_time(), equal_accuracy()
    assert [replace(arm, epochs=None) for arm in timed.arms] == [*ARMS]
    assert levelled.plan == PLAN
    for own, arm in zip(levelled.arms, ARMS, strict=True):
        assert (own.name, own.trainer, own.epochs) == (arm.name, arm.trainer, None)
        changed = own.words["options"].items() ^ arm.words["options"].items()
        assert len(changed) in (0, 2)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A small study of two arms, run once: study, source, folder, outcomes."""
    study = limited(comparison(epochs=2), 6)
    study = replace(
        study,
        net="mlp:16",
        arms=(
            Arm("none", "erm"),
            Arm("margin", "margin", ("epsilon=0.5",), epochs=3),
        ),
        measures=replace(
            study.measures, effort=Effort.FAST, certifiers=("lipschitz-margin",)
        ),
    )
    source, folder = built_in_source(), tmp_path_factory.mktemp("study")
    return study, source, folder, run_study(study, source, (0,), folder)


def test_every_outcome_obeys_the_laws(done):
    for one in done[3]:
        sides = zip(one.certified, one.robust, strict=True)
        assert all(low <= high <= one.clean for low, high in sides)
        assert list(one.robust) == sorted(one.robust, reverse=True)
        assert one.lower <= one.upper <= one.product * (1.0 + 1e-9)
        assert one.samples == 6


def test_outcomes_on_the_disk_are_not_trained_again(done):
    study, source, folder, outcomes = done
    told = []
    assert run_study(study, source, (0,), folder, told.append) == outcomes
    assert {progress.stage for progress in told} == {study.name}
    assert kept_outcomes(study, source, (0, 1), folder) == outcomes


def test_another_plan_is_another_training(done):
    study, source, folder, _ = done
    other = replace(study, plan=replace(study.plan, rate=0.5))
    assert kept_outcomes(other, source, (0,), folder) == ()


def test_an_arm_with_epochs_of_its_own_is_trained_for_them(done):
    study, source, _, outcomes = done
    assert [len(one.epochs) for one in outcomes] == [2, 3]
    page = study_page(study, source, outcomes)
    assert "Epochs: 2 to 3, by line." in page.notes[-1]
    assert page.document["epochs"] == {"none": 2, "margin": 3}
    cost = page.tables[-1]
    column = cost.columns.index("epochs")
    assert [row[column] for row in cost.rows] == ["2", "3"]


def test_the_seconds_of_a_training_are_those_of_all_its_epochs(done):
    for one in done[3]:
        assert one.training_seconds == sum(line.seconds for line in one.epochs) > 0.0


def test_other_epochs_of_an_arm_are_another_training_of_this_arm_alone(done):
    study, source, folder, outcomes = done
    longer = replace(study, arms=(study.arms[0], replace(study.arms[1], epochs=4)))
    assert kept_outcomes(longer, source, (0,), folder) == outcomes[:1]


def test_the_page_says_what_is_missing_and_what_the_data_are(done):
    study, source, _, outcomes = done
    page = study_page(study, source, outcomes[:1])
    assert "reproduces nothing" in page.notes[0]
    assert "1 of 2 trainings are still to be done" in page.notes[-1]
    assert page.document["outcomes"][0]["arm"] == "none"
    assert [row[0] for row in page.tables[0].rows] == ["none"]
