"""``robustcert train reproduce`` and ``compare``, run as a user would."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robustcert.cli.reproduce import COMPARISONS, Experiment, Level, numbers
from robustcert.errors import UsageError
from robustcert.experiments.commands import EXPERIMENTS


def short(folder, *words):
    return (*words, "--out", folder, "--seeds", "0", "--epochs", "1", "--count", "4")


def test_the_names_of_the_command_are_those_of_the_experiments():
    names = [experiment.value for experiment in Experiment]
    assert [*names, *COMPARISONS.values()] == list(EXPERIMENTS)
    assert list(COMPARISONS) == list(Level)


def test_seeds_are_whole_numbers_and_differ():
    assert numbers("0, 7,2") == (0, 7, 2)
    for words in ("", "0,,1", "-1", "1.5", "3,3", "a"):
        with pytest.raises(UsageError):
            numbers(words)


def test_a_folder_without_data_is_refused_with_a_remedy(run, tmp_path):
    words = short(tmp_path / "out", "train", "reproduce", "mnist")
    code, out, err = run(*words, "--data", tmp_path)
    assert (code, out) == (2, "")
    assert "remedy:" in err


@pytest.mark.slow
def test_the_regression_is_drawn_tabulated_and_documented(run, tmp_path):
    code, out, _ = run(*short(tmp_path, "train", "reproduce", "regression"))
    assert code == 0
    files = [Path(line) for line in out.splitlines()]
    assert {file.suffix for file in files} == {".html", ".md", ".json", ".svg"}
    text = (tmp_path / "regression-faithful.md").read_text()
    assert "Proposition 2" in text
    assert "| 1e-10 |" in text
    page = (tmp_path / "regression-faithful.html").read_text()
    assert page.count("<svg") == 2
    assert "<script" not in page


@pytest.mark.slow
def test_the_papers_figures_stand_beside_ours_and_a_second_run_trains_nothing(
    run, tmp_path
):
    words = short(tmp_path, "train", "reproduce", "mnist", "--mode", "corrected")
    code, out, _ = run(*words)
    assert code == 0
    text = (tmp_path / "mnist-corrected.md").read_text()
    assert "reproduces nothing" in text
    assert "(36.2)" in text  # CLIP90 under the paper's attack
    document = json.loads((tmp_path / "mnist-corrected.json").read_text())
    assert len(document["outcomes"]) == len(document["arms"]) == 7
    for outcome in document["outcomes"]:
        assert (tmp_path / outcome["model"]).is_file()
    again = run(*words)
    assert again[:2] == (0, out)
    assert "training" not in again[2]
    assert json.loads((tmp_path / "mnist-corrected.json").read_text()) == document


@pytest.mark.slow
def test_the_comparison_has_a_line_for_every_way_to_train(run, tmp_path):
    code, out, _ = run(*short(tmp_path, "train", "compare"), "--level", "accuracy")
    assert code == 0
    name = "comparison-equal-accuracy"
    assert (tmp_path / f"{name}-trade-off.svg").read_text().startswith("<svg")
    document = json.loads((tmp_path / f"{name}.json").read_text())
    trained = [outcome["arm"] for outcome in document["outcomes"]]
    assert trained == ["none", "WR", "CLIP", "CLIP+", "spectral", "margin",
                       "margin-CLIP+", "TRADES"]  # fmt: skip
    for arm in trained:
        assert f"| {arm} |" in (tmp_path / f"{name}.md").read_text()
    assert str(tmp_path / f"{name}.html") in out
