"""Saved code checked as text, before any parser with a stack sees it.

The loader has its own lexer, and Python's is another. Only text that both read alike is
let through: printable ASCII, one statement a line, plain strings, no comments.
"""

from __future__ import annotations

import re
from itertools import accumulate

from robustcert.archive import wording
from robustcert.archive.limits import ArchiveLimits
from robustcert.errors import ArchiveError

STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"' r"|'(?:[^'\\\n]|\\.)*'")
# A string must stand alone: no prefix letter, no second quote that makes it a long one.
ODD_STRING = re.compile(r"\w\"\"|\"\"[\w\"']")
FOREIGN = re.compile(r"[^\n\x20-\x7e]")
# Left over once strings are taken out: comments, statements run together, joined lines.
UNUSUAL = re.compile(r"[#;\\'`$?]")
BRACKET = re.compile(r"[\[({\])}]")
SIGNS = re.compile(r"(?:[-+~!][ (]*){8}|(?:\bnot\b[ (]*){8}")


def checked(name: str, source: bytes, limits: ArchiveLimits) -> str:
    """The text of the code member ``name``.

    Raises:
        ArchiveError: it is not text as torch.jit.save writes it, or nested too deep.
    """
    text = source.decode("ascii", errors="replace")
    if FOREIGN.search(text):
        raise _refused(name, "holds characters that are not printable ASCII")
    if max(map(len, text.split("\n"))) > limits.line_length:
        raise _refused(name, f"has a line of more than {limits.line_length} characters")
    bare = STRING.sub('""', text)
    if UNUSUAL.search(bare) or ODD_STRING.search(bare):
        raise _refused(name, "has comments, joined statements or unusual strings")
    if _bracket_depth(bare) > limits.bracket_depth or SIGNS.search(bare):
        raise _refused(name, f"nests more than {limits.bracket_depth} deep")
    return text


def _bracket_depth(bare: str) -> int:
    steps = (1 if bracket in "[({" else -1 for bracket in BRACKET.findall(bare))
    return max(accumulate(steps, initial=0))


def _refused(name: str, why: str) -> ArchiveError:
    return ArchiveError(
        f"The code member {wording.quoted(name)} {why}; torch.jit.save writes none "
        "like it.",
        remedy=wording.SAVE_AGAIN,
    )
