"""``robustcert robustbench``: a report as an entry of RobustBench's leaderboard."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from robustcert.cli.output import write_text
from robustcert.errors import DocumentError
from robustcert.formats.robustbench import Entry, model_info
from robustcert.formats.robustbench import text as entry_text
from robustcert.results.document import from_json

ReportFile = Annotated[
    Path,
    typer.Argument(metavar="REPORT", help="Report that `robustcert evaluate` wrote."),
]
Epsilon = Annotated[
    float | None,
    typer.Option(
        "--epsilon", metavar="E", help="Which of the report's, if it has several."
    ),
]
EntryFile = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Write the entry; stdout if left out."),
]
Name = Annotated[str, typer.Option("--name", metavar="TITLE", help="Paper's title.")]
Authors = Annotated[str, typer.Option("--authors", help="Separated by commas.")]
Link = Annotated[str, typer.Option("--link", metavar="URL", help="Of the paper.")]
Venue = Annotated[
    str, typer.Option("--venue", help="Where it was published, and when.")
]
Dataset = Annotated[str, typer.Option("--dataset", help="Such as cifar10.")]
Architecture = Annotated[
    str, typer.Option("--architecture", help="Such as WideResNet-28-10.")
]
AdditionalData = Annotated[
    bool,
    typer.Option("--additional-data", help="Trained on more than the data set."),
]
ForwardPasses = Annotated[
    int, typer.Option("--forward-passes", metavar="N", help="Of one prediction.")
]
Reported = Annotated[
    float | None,
    typer.Option(
        "--reported", metavar="PERCENT", help="Robust accuracy that the makers report."
    ),
]
Unreliable = Annotated[
    bool,
    typer.Option("--unreliable", help="Say that the evaluation cannot be trusted."),
]


def robustbench(
    report: ReportFile,
    *,
    epsilon: Epsilon = None,
    name: Name = "",
    authors: Authors = "",
    link: Link = "",
    venue: Venue = "",
    dataset: Dataset = "",
    architecture: Architecture = "",
    additional_data: AdditionalData = False,
    forward_passes: ForwardPasses = 1,
    reported: Reported = None,
    unreliable: Unreliable = False,
    json: EntryFile = None,
) -> None:
    """Turn a report into an entry of RobustBench's leaderboard."""
    entry = Entry(
        name=name,
        authors=authors,
        link=link,
        venue=venue,
        dataset=dataset,
        architecture=architecture,
        additional_data=additional_data,
        forward_passes=forward_passes,
        reported=reported,
        unreliable=unreliable,
    )
    text = entry_text(model_info(from_json(_bytes(report)), entry, epsilon))
    if json is None:
        sys.stdout.write(text)
    else:
        write_text(json, text)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DocumentError(
            f"the report {str(path)!r} cannot be read: {error.strerror}",
            remedy="Give the file that `robustcert evaluate --json` wrote.",
        ) from error
