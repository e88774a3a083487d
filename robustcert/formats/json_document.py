"""The report as the document ``robustcert/report/v1``."""

from __future__ import annotations

from dataclasses import dataclass

from robustcert.results.document import canonical_json, issue
from robustcert.results.report import RobustnessReport


@dataclass(frozen=True, slots=True)
class JsonFormat:
    """Canonical JSON, two spaces a level."""

    name: str = "json"
    suffix: str = ".json"
    media_type: str = "application/json"

    def write(self, report: RobustnessReport) -> str:
        """The checked document as text."""
        return canonical_json(issue(report)) + "\n"
