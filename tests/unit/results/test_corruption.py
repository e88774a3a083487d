"""Corruption tables, their intervals, and their document."""

from __future__ import annotations

import itertools
import json
import math

import pytest

from robustcert.results.corruption import (
    CorruptionCell,
    CorruptionReport,
    CorruptionTable,
    RefusedCorruption,
)
from robustcert.results.corruption_document import corruption_document
from robustcert.results.document import canonical_json
from robustcert.results.interval import share_interval
from robustcert.results.mean_interval import mean_interval
from robustcert.results.threat_model import Box
from tests.golden.handmade import small_report


def table():
    cells = tuple(
        CorruptionCell("contrast", severity, 0.1 * severity, 10 - severity, 10)
        for severity in (1, 2)
    )
    return CorruptionTable(
        9, 10, cells, (RefusedCorruption("pixelate", "it needs pictures"),)
    )


def test_all_cells_weigh_the_same():
    assert table().mean_accuracy == pytest.approx(0.85)
    assert table().accuracy_of("contrast") == pytest.approx(0.85)
    assert table().clean_interval == share_interval(9, 10)


def test_the_interval_of_a_mean_counts_samples_and_not_cells():
    wide = CorruptionTable(9, 10, table().cells * 50)
    assert wide.mean_interval == table().mean_interval


def test_the_interval_of_a_mean_holds_the_share_interval():
    for hits, count in itertools.product((0, 3, 10), (10, 40)):
        low, high = share_interval(hits, count)
        lower, higher = mean_interval(hits / count, count)
        assert lower <= low
        assert high <= higher


@pytest.mark.parametrize(("mean", "count"), [(0.8, 200), (0.0, 50), (1.0, 7)])
def test_the_ends_of_a_mean_interval_lie_where_the_bound_says(mean, count):
    low, high = mean_interval(mean, count)
    reach = math.log(40.0) / count

    def divergence(share):
        parts = zip((mean, 1 - mean), (share, 1 - share), strict=True)
        return sum(a * math.log(a / b) for a, b in parts if a)

    for end in (low, high):
        if 0.0 < end < 1.0:
            assert divergence(end) == pytest.approx(reach, rel=1e-6)
    assert low <= mean <= high


def test_draws_of_one_half_are_covered_as_well_as_coins():
    """Of 20 draws that are 0 or 1 with even odds, nearly all intervals hold .5."""
    count = 20
    covered = sum(
        math.comb(count, hits) / 2**count
        for hits in range(count + 1)
        if mean_interval(hits / count, count)[0] <= 0.5
        and mean_interval(hits / count, count)[1] >= 0.5
    )
    assert covered >= 0.95


@pytest.mark.parametrize("arguments", [(1.1, 5), (0.5, 0), (0.5, 5, 1.0)])
def test_what_is_no_mean_has_no_interval(arguments):
    with pytest.raises(ValueError, match=r"mean|confidence"):
        mean_interval(*arguments)


def test_a_table_is_about_one_sample_set():
    with pytest.raises(ValueError, match="same samples"):
        CorruptionTable(9, 11, table().cells)
    with pytest.raises(ValueError, match="cannot be right"):
        CorruptionCell("contrast", 1, 0.1, 11, 10)


def test_the_document_says_all_of_it_in_json():
    known = small_report()
    report = CorruptionReport(
        known.model, known.samples, Box(-1.0, 1.0), table(), known.provenance
    )
    document = json.loads(canonical_json(corruption_document(report)))
    assert document["schema"] == "robustcert/corruptions/v1"
    assert document["box"] == [-1.0, 1.0]
    assert document["accuracy"]["clean"] == 0.9
    assert document["accuracy"]["mean_corruption"] == pytest.approx(0.85)
    assert document["accuracy"]["by_corruption"] == {"contrast": pytest.approx(0.85)}
    assert [cell["accuracy"] for cell in document["accuracy"]["cells"]] == [0.9, 0.8]
    assert document["refused"][0]["corruption"] == "pixelate"
