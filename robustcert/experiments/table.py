"""Tables of results: the same cells in Markdown and on a page."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from robustcert.results.numbers import number, number_down, number_up

NONE = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Table:
    """Cells under their headings.

    Attributes:
        caption: what the figures are, in a sentence or two.
        columns: one heading each.
        rows: as many cells as there are columns.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def markdown(table: Table) -> str:
    """The table in Markdown, its caption in front."""
    lines = [
        table.caption,
        "",
        _line(table.columns),
        _line("---" for _ in table.columns),
        *(_line(row) for row in table.rows),
    ]
    return "\n".join(lines) + "\n"


def percentages(shares: Sequence[float], digits: int = 1) -> str:
    """Mean of shares in percent, ``91.2``, with their spread: ``91.2 ± 0.3``.

    The spread is the standard deviation of a sample; one value has none.
    """
    if not shares:
        return NONE
    mean = 100.0 * statistics.fmean(shares)
    if len(shares) == 1:
        return f"{mean:.{digits}f}"
    spread = 100.0 * statistics.stdev(shares)
    return f"{mean:.{digits}f} ± {spread:.{digits}f}"


def averages(values: Sequence[float], digits: int = 3) -> str:
    """Mean of numbers, with their spread."""
    if not values:
        return NONE
    mean = number(statistics.fmean(values), digits)
    if len(values) == 1:
        return mean
    return f"{mean} ± {number(statistics.stdev(values), 2)}"


def bracket(lower: float | None, upper: float | None, digits: int = 3) -> str:
    """``2.53 to 3.11``, each side rounded outwards."""
    left = NONE if lower is None else number_down(lower, digits)
    right = NONE if upper is None else number_up(upper, digits)
    return f"{left} to {right}"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"
