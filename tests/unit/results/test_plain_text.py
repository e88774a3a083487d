"""Strings from models are shown as what they are, on one line."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from robustcert.results.plain_text import LIMIT, markdown_text, plain_text

ANYTHING = st.text(st.characters(exclude_categories=()), max_size=40)


@given(ANYTHING)
def test_nothing_invisible_is_left(text):
    shown = plain_text(text)
    assert len(shown) == len(text)
    assert all(unicodedata.category(c)[0] != "C" for c in shown)
    shown.encode("utf-8")


def test_terminal_escapes_direction_overrides_and_lone_surrogates_are_replaced():
    assert plain_text("a\x1b[31m\u202egpj\ud800\x00") == "a�[31m�gpj��"


def test_line_breaks_of_every_kind_become_spaces():
    assert plain_text("a\nb\r\nc\td\u2028e") == "a b  c d e"


def test_megabytes_are_cut():
    assert len(plain_text("x" * 10_000_000)) == LIMIT
    assert plain_text("x" * 11, 10) == "x" * 9 + "…"
    assert plain_text("x" * 10, 10) == "x" * 10


def test_what_markdown_acts_on_is_escaped_and_prose_is_left_alone():
    assert markdown_text("[a](http://b) <i> |x| `c` *d* @me") == (
        r"\[a\](http\://b) \<i\> \|x\| \`c\` \*d\* \@me"
    )
    assert markdown_text("see www.b.org") == r"see www\.b.org"
    assert markdown_text("It is 94.0 %: 3 of 4.") == "It is 94.0 %: 3 of 4."
