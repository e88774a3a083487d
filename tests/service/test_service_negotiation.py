"""Which format an Accept header asks for."""

from __future__ import annotations

import pytest

from api.errors import NotAcceptableError
from api.negotiation import best_format, quality


@pytest.mark.parametrize(
    ("accept", "media_type", "expected"),
    [
        ("*/*", "text/html", 1.0),
        ("", "text/html", 0.0),
        ("text/*;q=0.4, */*;q=0.1", "text/html", 0.4),
        ("text/html;q=0, */*", "text/html", 0.0),
        ("text/html;level=1;q=0.3", "text/html", 0.3),
        ("TEXT/HTML", "text/html", 1.0),
        ("text/html;q=nonsense", "text/html", 0.0),
        ("text/html;q=9", "text/html", 1.0),
        ("text/html;q=nan", "text/html", 0.0),
        (",,;;", "text/html", 0.0),
    ],
)
def test_the_closest_range_decides(accept, media_type, expected):
    assert quality(accept, media_type) == expected


def test_the_first_format_wins_a_tie_and_nothing_is_an_error():
    assert best_format("*/*").name == "json"
    assert best_format("text/html, application/json;q=0.9").name == "html"
    with pytest.raises(NotAcceptableError, match="application/json"):
        best_format("image/png")
