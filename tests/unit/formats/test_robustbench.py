"""Reports as entries of RobustBench's leaderboard."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from robustcert.errors import UsageError
from robustcert.formats.robustbench import Entry, epsilon_word, model_info, text
from robustcert.results.attack import AttackRun
from robustcert.results.norm import Norm
from robustcert.results.report import Finding, Level
from robustcert.results.threat_model import ThreatSweep
from tests.golden.handmade import small_report

FIELDS = [
    *("link", "name", "authors", "additional_data", "number_forward_passes"),
    *("dataset", "venue", "architecture", "eps", "clean_acc", "reported", "external"),
    *("footnote", "unreliable"),
]


def sound():
    """The small report without findings."""
    return replace(small_report(), findings=())


def attacked_by(*names):
    runs = tuple(AttackRun(name, 0, 1, 1, 0.1) for name in names)
    return replace(sound(), attacks=(*sound().attacks, *runs))


def test_an_entry_has_robustbenchs_fields_in_their_order():
    assert [*model_info(sound(), Entry(), 0.1)] == FIELDS


def test_accuracies_are_percentages_with_two_decimals():
    info = model_info(sound(), Entry(reported=58.0), 0.1)
    assert info["clean_acc"] == "87.50"
    assert info["external"] == "62.50"
    assert info["reported"] == "58.00"
    assert info["eps"] == "0.1"


def test_an_upper_bound_is_rounded_up():
    report = sound()
    rows = tuple(report.rows[index] for index in (0, 2, 3))
    samples = replace(report.samples, count=3)
    info = model_info(replace(report, rows=rows, samples=samples), Entry(), 0.1)
    assert info["external"] == "33.34"
    assert info["clean_acc"] == "66.67"


def test_what_only_the_makers_know_is_taken_from_the_entry():
    entry = Entry(
        name="A title",
        authors="A, B",
        link="https://arxiv.org/abs/0",
        venue="ICML 2022",
        dataset="cifar10",
        architecture="WideResNet-28-10",
        additional_data=True,
        forward_passes=2,
    )
    info = model_info(sound(), entry, 0.05)
    assert info["name"] == "A title"
    assert info["additional_data"] is True
    assert info["number_forward_passes"] == 2
    assert info["venue"] == "ICML 2022"


def test_autoattacks_field_is_filled_only_if_all_its_attacks_ran():
    standard = ("apgd-ce", "apgd-t", "fab-t", "square")
    assert "autoattack_acc" not in model_info(sound(), Entry(), 0.1)
    assert "autoattack_acc" not in model_info(attacked_by(*standard[:2]), Entry(), 0.1)
    for names in (standard, ("autoattack",)):
        info = model_info(attacked_by(*names), Entry(), 0.1)
        assert info["autoattack_acc"] == info["external"] == "62.50"


def test_the_footnote_names_the_samples_and_the_attacks():
    footnote = model_info(sound(), Entry(), 0.1)["footnote"]
    assert "8 samples" in footnote
    assert "apgd_margin, square" in footnote
    assert "upper bound" in footnote


@pytest.mark.parametrize(
    ("epsilon", "norm", "word"),
    [
        (8 / 255, Norm.LINF, "8/255"),
        (0.03137255, Norm.LINF, "8/255"),
        (0.3, Norm.LINF, "0.3"),
        (0.5, Norm.L2, "0.5"),
        (128 / 255, Norm.L2, repr(128 / 255)),
        (1.0, Norm.L2, "1"),
    ],
)
def test_epsilon_is_written_as_the_field_writes_it(epsilon, norm, word):
    assert epsilon_word(epsilon, norm) == word


def test_a_report_of_one_epsilon_needs_none_named():
    report = replace(sound(), threats=ThreatSweep(Norm.LINF, (0.0, 0.05)))
    assert model_info(report, Entry())["eps"] == "0.05"


def test_several_epsilons_or_a_foreign_one_are_refused():
    with pytest.raises(UsageError, match=r"0\.05, 0\.1, and none is named"):
        model_info(sound(), Entry())
    with pytest.raises(UsageError, match=r"not 0\.3"):
        model_info(sound(), Entry(), 0.3)


def test_a_report_without_an_epsilon_is_refused():
    report = replace(sound(), threats=ThreatSweep(Norm.LINF, (0.0,)))
    with pytest.raises(UsageError, match="no epsilon above 0"):
        model_info(report, Entry())


def test_a_report_without_attacks_is_refused():
    with pytest.raises(UsageError, match="no attack"):
        model_info(replace(sound(), attacks=()), Entry(), 0.1)


def test_an_unreliable_report_must_say_so():
    doubt = Finding("gradient-masking", Level.ERROR, "It masks.", "Attack again.")
    report = replace(sound(), findings=(doubt,))
    with pytest.raises(UsageError, match="unreliable") as caught:
        model_info(report, Entry(), 0.1)
    assert "--unreliable" in caught.value.remedy
    assert model_info(report, Entry(unreliable=True), 0.1)["unreliable"] is True


@pytest.mark.parametrize(
    "wrong", [{"forward_passes": 0}, {"reported": 101.0}, {"reported": -1.0}]
)
def test_an_entry_that_cannot_be_true_is_refused(wrong):
    with pytest.raises(UsageError):
        Entry(**wrong)


def test_the_file_is_json_with_the_fields_in_order():
    info = model_info(sound(), Entry(), 0.1)
    assert [*json.loads(text(info))] == FIELDS
