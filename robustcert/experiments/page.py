"""An experiment on one self-contained page: no script, no request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from robustcert.errors import UsageError
from robustcert.experiments.table import Table, markdown
from robustcert.formats.drawing import Caption, picture, svg
from robustcert.formats.palette import LIGHT, PAGE, Palette
from robustcert.results.document import canonical_json


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart in any colours.

    Attributes:
        caption: its identity is also the name of its file.
        chart: the Vega-Lite specification in a palette.
    """

    caption: Caption
    chart: Callable[[Palette], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Page:
    """Everything that an experiment shows.

    Attributes:
        name: of its files.
        title: one line.
        notes: sentences that a reader must know, the most important first.
        figures: charts.
        tables: results.
        document: all of it as JSON.
    """

    name: str
    title: str
    notes: tuple[str, ...]
    figures: tuple[Figure, ...]
    tables: tuple[Table, ...]
    document: dict[str, Any]


def write_page(page: Page, folder: Path) -> tuple[Path, ...]:
    """Write the page as HTML, Markdown and JSON, and each figure as SVG.

    Returns:
        The files.

    Raises:
        UsageError: one cannot be written.
    """
    drawings = {f"{f.caption.identity}.svg": svg(f.chart(LIGHT)) for f in page.figures}
    texts = {
        f"{page.name}.html": html(page),
        f"{page.name}.md": _markdown(page, tuple(drawings)),
        f"{page.name}.json": canonical_json(page.document),
        **drawings,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written: {error.strerror}",
            remedy="Choose a folder you may write to.",
        ) from error
    return tuple(folder / name for name in texts)


def html(page: Page) -> str:
    """The page; its drawings take their colours from the reader's preference."""
    drawn: Sequence[tuple[Caption, Markup]] = [
        (figure.caption, picture(figure.chart(PAGE), figure.caption))
        for figure in page.figures
    ]
    return _templates().get_template("experiment.html").render(page=page, drawn=drawn)


def _markdown(page: Page, drawings: Sequence[str]) -> str:
    captions = [figure.caption for figure in page.figures]
    parts = [f"# {page.title}", *page.notes]
    parts += [
        f"![{caption.title}]({name})\n\n{caption.description}"
        for caption, name in zip(captions, drawings, strict=True)
    ]
    parts += [markdown(table) for table in page.tables]
    return "\n\n".join(part.strip() for part in parts) + "\n"


@cache
def _templates() -> Environment:
    loaders = [
        PackageLoader("robustcert.experiments"),
        PackageLoader("robustcert.formats"),
    ]
    return Environment(
        loader=ChoiceLoader(loaders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
