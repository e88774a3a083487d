"""The verdict in Markdown, for the summary of a CI step."""

from __future__ import annotations

from collections.abc import Iterator

from robustcert.gate.verdict import GateVerdict
from robustcert.results.plain_text import markdown_text


def summary(verdict: GateVerdict) -> str:
    """A heading with the outcome, and a table with one row a rule."""
    return "\n".join(_lines(verdict)) + "\n"


def _lines(verdict: GateVerdict) -> Iterator[str]:
    yield f"## Robustness gate: {verdict.outcome.value}"
    yield ""
    yield "| rule | outcome | reason |"
    yield "|---|---|---|"
    for one in verdict.rules:
        reason = markdown_text(f"{one.reason} {one.remedy}".strip())
        yield f"| {markdown_text(one.title)} | **{one.outcome.value}** | {reason} |"
