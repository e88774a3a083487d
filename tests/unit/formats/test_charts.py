"""What the charts show is computed here, from rows and bounds."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from robustcert.formats.accuracy_chart import accuracy_chart
from robustcert.formats.chart_data import BINS, STEPS, band, bound_marks, histogram
from robustcert.formats.drawing import Caption, picture, svg
from robustcert.formats.lipschitz_chart import lipschitz_chart
from robustcert.formats.palette import DARK, LIGHT
from robustcert.formats.radius_chart import radius_chart
from robustcert.results.bound import Bracket, LowerBound, UpperBound, Witness
from robustcert.results.norm import Norm
from tests.golden.handmade import HOSTILE, bracket, large_report, small_report

SVG = "{http://www.w3.org/2000/svg}"


def parsed(text):
    return ET.fromstring(text)  # noqa: S314 - drawn by ourselves


def test_the_band_of_the_hand_made_report_has_the_corners_known_by_hand():
    corners = band(small_report().rows, (0.0, 0.05, 0.1))
    assert corners[0] == {"epsilon": 0.0, "certified": 0.75, "robust": 0.875}
    assert corners[-1] == {"epsilon": 0.1, "certified": 0.375, "robust": 0.625}
    by_edge = {c["epsilon"]: c for c in corners[::2]}
    assert by_edge[0.015625]["robust"] == 0.75  # sample 6 broke here
    assert by_edge[0.0625]["robust"] == 0.625  # and sample 2 here
    assert by_edge[0.03125]["certified"] == 0.625  # the end of sample 2's radius


def test_the_band_of_many_samples_is_drawn_with_few_corners():
    corners = band(large_report(3000).rows, (0.025, 0.05, 0.1))
    assert len(corners) <= 2 * (STEPS + 4)


def test_bounds_are_marked_with_values_rounded_outwards_and_the_best_in_the_middle():
    marks = bound_marks(bracket())
    assert [mark["caption"] for mark in marks] == [
        "pair_ascent ≥ 9.5",
        "jacobian_ascent ≥ 11.75",
        "liplt ≤ 18.5",
        "spectral_product ≤ 96.13",
    ]


def test_a_logarithmic_axis_shows_no_zero_and_no_infinity():
    witness = Witness((0.0,), (1.0,), 0.0)
    nothing = Bracket(
        Norm.L2,
        (LowerBound(0.0, Norm.L2, "pair_ascent", witness),),
        (UpperBound(math.inf, Norm.L2, "liplt"),),
    )
    assert bound_marks(nothing) == []
    assert lipschitz_chart(nothing) is None
    some = replace(nothing, uppers=(UpperBound(1e308, Norm.L2, "liplt"),))
    assert parsed(svg(lipschitz_chart(some))).tag == f"{SVG}svg"


def test_a_histogram_counts_every_value_once():
    counts = [bin_["count"] for bin_ in histogram([0.01, 0.5, 0.99, 1.0], 1.0)]
    assert len(counts) == BINS
    assert sum(counts) == 4
    assert counts[0] == 1
    assert counts[-1] == 2


def test_there_is_no_curve_at_epsilon_zero_alone_and_no_histogram_of_nothing():
    rows = small_report().rows
    assert accuracy_chart(rows, (0.0,), Norm.L2) is None
    assert radius_chart((rows[3],), Norm.L2) is None


def charts(palette=LIGHT):
    report = small_report()
    return (
        accuracy_chart(report.rows, (0.05, 0.1), Norm.LINF, palette=palette),
        lipschitz_chart(report.lipschitz, palette=palette),
        radius_chart(report.rows, Norm.LINF, palette=palette),
    )


@pytest.mark.parametrize("chart", charts())
def test_a_specification_is_finite_json_of_vega_lite(chart):
    assert json.loads(json.dumps(chart, allow_nan=False)) == chart
    assert chart["$schema"].startswith("https://vega.github.io/schema/vega-lite/")


@pytest.mark.parametrize("position", range(3))
def test_a_chart_is_drawn_in_the_colours_of_its_palette(position):
    for palette, other in ((LIGHT, DARK), (DARK, LIGHT)):
        drawn = svg(charts(palette)[position])
        assert palette.lower in drawn
        assert palette.upper in drawn
        assert other.lower not in drawn
        assert other.upper not in drawn


def test_a_hostile_method_name_is_text_in_the_drawing():
    lowers = tuple(replace(low, method=HOSTILE) for low in bracket().lowers)
    drawn = svg(lipschitz_chart(replace(bracket(), lowers=lowers)))
    names = {element.tag.removeprefix(SVG) for element in parsed(drawn).iter()}
    assert names <= {"svg", "g", "path", "line", "rect", "text", "tspan"}


def test_a_picture_has_a_role_a_title_and_a_description_escaped():
    caption = Caption("bounds", "<b>Bounds</b>", 'between "1" & 2')
    root = parsed(str(picture(lipschitz_chart(bracket()), caption)))
    assert root.get("role") == "img"
    title, description = root[0], root[1]
    assert (title.tag, title.text) == (f"{SVG}title", "<b>Bounds</b>")
    assert (description.tag, description.text) == (f"{SVG}desc", 'between "1" & 2')
    assert root.get("aria-labelledby").split() == [
        title.get("id"),
        description.get("id"),
    ]


def test_a_specification_that_names_an_address_fetches_nothing():
    remote = {
        "data": {"url": "http://127.0.0.1:9/data.json"},
        "mark": "point",
        "encoding": {"x": {"field": "x", "type": "quantitative"}},
    }
    with pytest.raises(ValueError, match="allowed"):
        svg(remote)
