"""What every report format does."""

from __future__ import annotations

from typing import Protocol

from robustcert.results.report import RobustnessReport


class ReportFormat(Protocol):
    """One way to write a report down.

    Attributes:
        name: in the registry and on the command line.
        suffix: of its files, with the dot.
        media_type: for HTTP.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - see the class

    @property
    def suffix(self) -> str: ...  # noqa: D102 - see the class

    @property
    def media_type(self) -> str: ...  # noqa: D102 - see the class

    def write(self, report: RobustnessReport) -> str:
        """The report as text, to be encoded as UTF-8.

        Raises:
            ConsistencyError: the report breaks a law and is not issued in any format.
        """
        ...
