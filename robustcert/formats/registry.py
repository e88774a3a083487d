"""The report formats by name."""

from __future__ import annotations

from robustcert.errors import UnknownNameError
from robustcert.formats.html import HtmlFormat
from robustcert.formats.interface import ReportFormat
from robustcert.formats.json_document import JsonFormat
from robustcert.formats.markdown import MarkdownFormat

FORMATS: dict[str, ReportFormat] = {
    "json": JsonFormat(),
    "html": HtmlFormat(),
    "markdown": MarkdownFormat(),
}


def format_named(name: str) -> ReportFormat:
    """The format called ``name``.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in FORMATS:
        choices = ", ".join(FORMATS)
        raise UnknownNameError(f"no format is called {name!r}; there are {choices}")
    return FORMATS[name]
