"""Outcomes on the disk."""

from __future__ import annotations

from dataclasses import replace

import pytest

from robustcert.experiments.outcome import EpochLine, Outcome, Place

OUTCOME = Outcome(
    arm="CLIP90",
    seed=1,
    model="models/x.ts.pt",
    sha256="ab",
    epoch=0,
    weight=0.1,
    step_seconds=0.01,
    train=0.9,
    test=0.8,
    noise=0.7,
    attack=0.6,
    samples=10,
    clean=0.8,
    epsilons=(0.25, 0.5),
    robust=(0.7, 0.4),
    certified=(0.5, 0.1),
    lower=1.0,
    upper=2.0,
    product=3.0,
    margin=0.5,
    findings=(),
    epochs=(EpochLine(0, 0.5, 0.9, None, 0.1, 0.8, 1.0),),
)


def place(folder, **recipe):
    return Place(folder, "mnist-CLIP90-1", {"rate": 0.1, **recipe})


def test_what_was_kept_is_found_again(tmp_path):
    place(tmp_path).keep(OUTCOME)
    assert place(tmp_path).find() == OUTCOME


def test_an_outcome_of_another_recipe_is_not_taken(tmp_path):
    place(tmp_path).keep(OUTCOME)
    assert place(tmp_path, seed=2).find() is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"recipe": {"rate": 0.1}}'])
def test_a_broken_record_counts_as_none(tmp_path, text):
    place(tmp_path).keep(OUTCOME)
    (record,) = (tmp_path / "runs").iterdir()
    record.write_text(text)
    assert place(tmp_path).find() is None


def test_an_outcome_with_a_missing_figure_is_not_taken(tmp_path):
    place(tmp_path).keep(OUTCOME)
    (record,) = (tmp_path / "runs").iterdir()
    record.write_text(record.read_text().replace('"lower"', '"lowest"'))
    assert place(tmp_path).find() is None


def test_what_served_to_resume_goes_when_the_outcome_is_kept(tmp_path):
    own = place(tmp_path)
    own.shards.mkdir(parents=True)
    own.checkpoint.write_bytes(b"x")
    own.keep(OUTCOME)
    assert not own.shards.exists()
    assert not own.checkpoint.exists()


def test_another_recipe_resumes_elsewhere(tmp_path):
    assert place(tmp_path).checkpoint != place(tmp_path, seed=2).checkpoint


def test_margin_over_lipschitz_is_a_length_and_unknown_without_an_upper_bound():
    assert OUTCOME.reach == 0.25
    assert replace(OUTCOME, upper=None).reach is None


def test_accuracies_are_asked_for_by_their_radius():
    assert (OUTCOME.robust_at(0.5), OUTCOME.certified_at(0.25)) == (0.4, 0.5)
