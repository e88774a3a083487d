"""Strings from models, files and documents, made fit to be shown.

Layer names, sample set names and messages that quote them are written by whoever made
the model. They may hold control characters, which terminals and XML refuse or obey,
text-direction overrides, which make a line read as another, or megabytes.
"""

from __future__ import annotations

import re
import unicodedata

LIMIT = 600

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
_BREAKS = frozenset({"\n", "\r", "\t", "\x0b", "\x0c", "\u2028", "\u2029"})
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~!&@$]|:(?=//)|(?<=www)\.)", re.IGNORECASE)


def plain_text(text: str, limit: int = LIMIT) -> str:
    """``text`` on one line, visible characters only, at most ``limit`` of them.

    Line breaks and tabs become spaces; control, format, surrogate, private and
    unassigned characters become U+FFFD. Markup is left as it is: escaping is the
    business of the format that shows the text.
    """
    cut = text if len(text) <= limit else text[: limit - 1] + _ELLIPSIS
    return "".join(map(_visible, cut))


def markdown_text(text: str, limit: int = LIMIT) -> str:
    """:func:`plain_text` with every character that Markdown acts on escaped.

    That includes what starts links, mentions, HTML, tables and formulas within a line.
    """
    return _MARKDOWN.sub(r"\\\1", plain_text(text, limit))


def _visible(character: str) -> str:
    if character in _BREAKS:
        return " "
    if unicodedata.category(character).startswith("C"):
        return _REPLACEMENT
    return character
