"""Every format writes every report, and refuses one that contradicts itself."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from robustcert.errors import ConsistencyError, UnknownNameError
from robustcert.formats.html import LAYERS, ROWS
from robustcert.formats.registry import FORMATS, format_named
from robustcert.formats.sentences import bracket_sentence, headline
from robustcert.results.bound import Bracket
from robustcert.results.document import issue
from robustcert.results.norm import Norm
from robustcert.results.report import Finding, LayerCard, Level
from robustcert.results.threat_model import ThreatSweep
from tests.golden.handmade import (
    HOSTILE,
    hostile_report,
    large_report,
    small_report,
    unreliable_report,
)

HTML = FORMATS["html"]
MARKDOWN = FORMATS["markdown"]
VOID = {"meta", "link", "br"}
SPACE = "\N{NO-BREAK SPACE}"


class Page(HTMLParser):
    """A page's elements, attributes, texts and nesting."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.attributes, self.open, self.text = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def small_page():
    return Page(HTML.write(small_report()))


@pytest.fixture(scope="module")
def hostile_page():
    return Page(HTML.write(hostile_report()))


def test_a_format_is_registered_under_its_own_name():
    assert {name: one.name for name, one in FORMATS.items()} == {n: n for n in FORMATS}
    assert format_named("json") is FORMATS["json"]
    with pytest.raises(UnknownNameError, match="json, html, markdown"):
        format_named("pdf")


@pytest.mark.parametrize("name", FORMATS)
def test_no_format_writes_a_report_that_contradicts_itself(name):
    report = small_report()
    rows = (replace(report.rows[0], predicted=4), *report.rows[1:])
    with pytest.raises(ConsistencyError):
        FORMATS[name].write(replace(report, rows=rows))


def test_the_json_format_is_the_issued_document():
    assert json.loads(FORMATS["json"].write(small_report())) == issue(small_report())


def test_the_headline_is_the_bracket_at_the_largest_epsilon():
    assert headline(small_report()) == (
        f"The true robust accuracy of these 8 samples at linf 0.1 lies between "
        f"37.5{SPACE}% and 62.5{SPACE}%."
    )


def test_a_closed_bracket_is_one_number():
    report = replace(small_report(), threats=ThreatSweep(Norm.LINF, (0.0,)))
    assert headline(report).endswith(
        "is 87.5\N{NO-BREAK SPACE}%: each is either certified or broken."
    )


def test_the_lipschitz_sentence_says_which_side_is_missing():
    bracket = small_report().lipschitz
    assert "lies between 11.75 and 18.5" in bracket_sentence(bracket)
    assert "at least 11.75" in bracket_sentence(replace(bracket, uppers=()))
    assert "at most 18.5" in bracket_sentence(replace(bracket, lowers=()))
    assert "not bounded" in bracket_sentence(Bracket(Norm.L2))


def test_the_page_has_a_language_one_main_heading_and_no_skipped_level(small_page):
    assert ("html", "lang", "en") in small_page.attributes
    headings = [tag for tag in small_page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert headings.count("h1") == 1
    assert headings[0] == "h1"
    levels = [int(tag[1]) for tag in headings]
    assert all(there <= here + 1 for here, there in pairwise(levels))


def test_every_table_has_a_caption_and_every_header_a_scope(small_page):
    elements = small_page.elements
    assert elements.count("table") == elements.count("caption") == 6
    scopes = [a for a in small_page.attributes if a[:2] == ("th", "scope")]
    assert len(scopes) == elements.count("th")


def test_every_chart_is_an_image_with_a_title_and_a_description(small_page):
    elements = small_page.elements
    assert elements.count("svg") == 6
    assert elements.count("desc") == 6
    roles = [a for a in small_page.attributes if a == ("svg", "role", "img")]
    assert len(roles) == 6
    ids = [a[2] for a in small_page.attributes if a[1] == "id"]
    assert len(ids) == len(set(ids))
    for tag, name, value in small_page.attributes:
        if name in {"aria-labelledby", "aria-describedby"}:
            assert set(value.split()) <= set(ids), tag


def test_the_page_needs_no_script_and_asks_nobody_for_anything(small_page):
    assert "script" not in small_page.elements
    for tag, name, value in small_page.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in {"src", "href", "xlink:href", "action", "srcset"}:
            assert value == "data:,"
    style = "".join(small_page.text)
    assert "@import" not in style
    assert "url(" not in style
    policy = [a[2] for a in small_page.attributes if "default-src" in (a[2] or "")]
    assert policy
    assert policy[0].startswith("default-src 'none'")


def test_a_hostile_model_adds_no_element_and_no_attribute(small_page, hostile_page):
    assert set(hostile_page.elements) <= set(small_page.elements)
    assert not {name for _, name, _ in hostile_page.attributes} - {
        name for _, name, _ in small_page.attributes
    }
    text = "".join(hostile_page.text)
    assert "</script>" in text  # shown as what it is
    assert "{{7*7}}" in text
    for hidden in "\x00\x1b\u202e\ud800":
        assert hidden not in HTML.write(hostile_report())


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_of_a_hostile_report_is_valid_utf8(name):
    assert FORMATS[name].write(hostile_report()).encode("utf-8")


def test_a_megabyte_of_a_name_is_cut():
    report = small_report()
    layers = (LayerCard("x" * 1_000_000, "y" * 1_000_000, (1,), None),)
    model = replace(report.model, layers=layers)
    finding = Finding("r" * 1_000_000, Level.ERROR, "m" * 1_000_000, "f" * 1_000_000)
    report = replace(report, model=model, findings=(finding,))
    assert len(HTML.write(report)) < 150_000
    assert len(MARKDOWN.write(report)) < 5_000


def test_errors_and_warnings_stand_before_the_charts_and_notes_are_folded():
    text = HTML.write(unreliable_report())
    assert text.index("unreliable") < text.index("Findings to read first")
    first_chart = text.index("<svg")
    assert text.index("gradient-masking") < first_chart
    assert text.index("lipschitz-unbounded") < first_chart
    assert text.index("few-samples") > text.index("<details")


def test_a_long_sample_list_is_capped_and_says_so():
    text = HTML.write(large_report(ROWS + 1))
    assert text.count('<th scope="row" class="number">') == ROWS
    assert f"The first 1{SPACE}000 of 1{SPACE}001 samples are listed" in text


def test_a_long_layer_list_is_capped_and_says_so():
    report = small_report()
    layer = LayerCard("block", "conv", (1,), 1.0)
    model = replace(report.model, layers=(layer,) * (LAYERS + 1))
    text = HTML.write(replace(report, model=model))
    assert f"The first {LAYERS} of {LAYERS + 1} layers are listed" in text


def test_a_report_with_nothing_to_draw_is_a_page_without_pictures():
    report = small_report()
    report = replace(
        report,
        threats=ThreatSweep(Norm.LINF, (0.0,)),
        lipschitz=Bracket(Norm.LINF),
        rows=(replace(report.rows[3], index=0),),
        samples=replace(report.samples, count=1),
        attacks=(),
    )
    page = Page(HTML.write(report))
    assert "svg" not in page.elements
    assert "No attack was run" in "".join(page.text)
    assert "this one sample" in MARKDOWN.write(report)


def test_the_same_report_gives_the_same_page():
    assert HTML.write(small_report()) == HTML.write(small_report())


def test_markdown_shows_a_hostile_name_as_text_in_one_cell():
    report = replace(small_report(), attacks=hostile_report().attacks)
    (line,) = [x for x in MARKDOWN.write(report).splitlines() if "script" in x]
    unescaped = re.sub(r"\\.", "", line)
    assert unescaped.count("|") == 6
    assert not set("<>`[]") & set(unescaped)
    assert HOSTILE not in line
