"""Tables say no more than is known."""

from __future__ import annotations

from robustcert.experiments.table import (
    Table,
    averages,
    bracket,
    markdown,
    percentages,
)


def test_a_spread_is_the_standard_deviation_of_a_sample():
    assert percentages([0.90, 0.92, 0.94]) == "92.0 ± 2.0"
    assert averages([1.0, 3.0]) == "2.0 ± 1.4"


def test_one_value_has_no_spread_and_none_is_a_dash():
    assert percentages([0.5]) == "50.0"
    assert averages([0.125]) == "0.125"
    assert percentages([]) == averages([]) == "\N{EN DASH}"


def test_a_bracket_is_rounded_outwards():
    assert bracket(1.2349, 1.2341) == "1.23 to 1.24"
    assert bracket(0.5, None) == "0.5 to \N{EN DASH}"


def test_a_bar_in_a_cell_does_not_open_a_column():
    text = markdown(Table("caption", ("a", "b"), (("1 | 2", "3"),)))
    assert text.splitlines() == [
        "caption",
        "",
        "| a | b |",
        "| --- | --- |",
        r"| 1 \| 2 | 3 |",
    ]
