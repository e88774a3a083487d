"""The report as one self-contained HTML page: no script, no request, no font file.

The page is a Jinja2 template. Autoescape is on for everything, and every string that a
template prints passes :func:`~robustcert.results.plain_text.plain_text` first, because
names and messages may come from a hostile model. The page's own content security
policy forbids scripts and requests as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from robustcert.formats.pictures import Picture, pictures
from robustcert.formats.sentences import (
    UNRELIABLE,
    bracket_sentence,
    headline,
    ranked,
    smoothing_sentence,
    undecided,
    unreliable,
)
from robustcert.results import numbers
from robustcert.results.consistency import check
from robustcert.results.document_write import explained
from robustcert.results.interval import CONFIDENCE
from robustcert.results.plain_text import plain_text
from robustcert.results.report import Level, RobustnessReport
from robustcert.results.smoothing_part import smoothed_epsilons

ROWS = 1000
"""At most this many samples are listed; the JSON document has all of them."""

LAYERS = 500
SHORT = 80


@dataclass(frozen=True, slots=True)
class HtmlFormat:
    """One file, readable in light and dark, on a phone and on paper."""

    name: str = "html"
    suffix: str = ".html"
    media_type: str = "text/html"

    def write(self, report: RobustnessReport) -> str:
        """The report as a page."""
        check(report)
        return _templates().get_template("report.html").render(_context(report))


def _context(report: RobustnessReport) -> dict[str, object]:
    findings = ranked(explained(report.findings, report.lipschitz))
    return {
        "report": report,
        "bracket": report.lipschitz,
        "curve": report.curve,
        "headline": headline(report),
        "bracket_sentence": bracket_sentence(report.lipschitz),
        "unreliable": UNRELIABLE if unreliable(report) else "",
        "alarms": [f for f in findings if f.level is not Level.NOTE],
        "notes": [f for f in findings if f.level is Level.NOTE],
        "rows": report.rows[:ROWS],
        "layers": report.model.layers[:LAYERS],
        "confidence": CONFIDENCE,
        "pictures": _by_name(pictures(report)),
        "undecided": lambda point: undecided(point, len(report.rows)),
        "smoothing_sentence": smoothing_sentence(report),
        "smoothed_epsilons": _smoothed_epsilons(report),
        "n": numbers,
    }


def _smoothed_epsilons(report: RobustnessReport) -> tuple[float, ...]:
    table = report.smoothing
    return () if table is None else smoothed_epsilons(table, report.threats)


def _by_name(drawn: tuple[Picture, ...]) -> dict[str, Picture]:
    return {picture.name: picture for picture in drawn}


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("robustcert.formats"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printed,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["short"] = _short
    environment.tests["infinite"] = math.isinf
    return environment


def _printed(value: object) -> object:
    """What a template prints for ``value``; markup is our own."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return plain_text(value)
    return value


def _short(text: str) -> str:
    return plain_text(text, SHORT)
