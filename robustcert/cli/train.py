"""``robustcert train``: train a net to be robust, and say how it came about."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from robustcert.cli import options
from robustcert.cli.output import STDOUT, people, write_json
from robustcert.cli.progress import progress_display
from robustcert.cli.reproduce import compare, reproduce
from robustcert.cli.training_request import Material, Steps, TrainingRequest
from robustcert.errors import UsageError
from robustcert.results.threat_model import Box
from robustcert.train.names import SUMMARIES

WORK = "robustcert.cli.training"
"""What the commands do; it needs torch, which this file does not load."""

_LIST = "see `robustcert train list`"

train = typer.Typer(
    name="train",
    help="Train nets to be robust.",
    rich_markup_mode=None,
)

NetName = Annotated[
    str,
    typer.Option("--net", metavar="NAME", help=f"Net, such as mlp:256,256; {_LIST}."),
]
Samples = Annotated[
    str,
    typer.Option(
        "--samples",
        metavar="NAME|FILE|FOLDER",
        help="Built-in set, .npz file with `inputs` and `labels`, or idx folder.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="Write the model: torch.export if it ends in .pt2, or else TorchScript.",
    ),
]
Words = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Option of the trainer; may be repeated."
    ),
]
Epochs = Annotated[
    int, typer.Option("--epochs", metavar="N", min=1, help="Passes over the samples.")
]
BatchSize = Annotated[
    int, typer.Option("--batch", metavar="B", min=1, help="Examples a step.")
]
Rate = Annotated[
    float, typer.Option("--rate", metavar="R", help="Rate of the optimiser.")
]
Optimiser = Annotated[
    str, typer.Option("--optimiser", metavar="NAME", help=f"Optimiser; {_LIST}.")
]
Schedule = Annotated[
    str, typer.Option("--schedule", metavar="NAME", help=f"Of the rate; {_LIST}.")
]
Reserve = Annotated[
    float,
    typer.Option("--reserve", metavar="SHARE", help="Of the samples, kept for pairs."),
]
Validation = Annotated[
    float,
    typer.Option(
        "--validation", metavar="SHARE", help="Of the samples, kept for selection."
    ),
]
Select = Annotated[
    str | None,
    typer.Option(
        "--select",
        metavar="NAME",
        help=f"Which epoch is kept; {_LIST}. The trainer's own if left out.",
    ),
]
ExtraSamples = Annotated[
    str | None,
    typer.Option(
        "--extra", metavar="NAME|FILE|FOLDER", help="More samples, say generated ones."
    ),
]
ExtraShare = Annotated[
    float,
    typer.Option(
        "--extra-share", metavar="SHARE", help="Of each batch, drawn from --extra."
    ),
]
Device = Annotated[
    str, typer.Option("--device", metavar="NAME", help="Where to train: cpu, cuda.")
]
CheckpointFile = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        metavar="FILE",
        help="Keeps finished epochs until the model is written; beside it if left out.",
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on behind the checkpoint, if there is one.")
]
Record = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help="Write the record; - is stdout. Beside the model if left out.",
    ),
]


def trainer_command(name: str) -> Callable[..., None]:
    """The command that trains as the row called ``name`` does."""

    def command(
        *,
        samples: Samples,
        net: NetName = "mlp-200-80",
        settings: Words = None,
        epochs: Epochs = 10,
        batch: BatchSize = 128,
        rate: Rate = 1e-3,
        optimiser: Optimiser = "adam",
        schedule: Schedule = "constant",
        seed: options.Seed = 0,
        reserve: Reserve = 0.1,
        validation: Validation = 0.1,
        select: Select = None,
        box: options.BoxEnds = options.UNIT_ENDS,
        extra: ExtraSamples = None,
        extra_share: ExtraShare = 0.5,
        device: Device = "cpu",
        out: Out = None,
        json: Record = None,
        checkpoint: CheckpointFile = None,
        resume: Resume = False,
    ) -> None:
        kept = checkpoint or _beside(out, ".checkpoint")
        _check_kept(kept, resume=resume)
        request = TrainingRequest(
            name,
            tuple(settings or ()),
            net,
            Material(samples, Box(*box), reserve, validation, extra, extra_share),
            Steps(epochs, batch, rate, optimiser, schedule, seed),
            select,
            device,
            out,
            kept,
        )
        document = _trained(request)
        record = json if out is None else json or str(_beside(out, ".json"))
        write_json(document, record)
        if kept is not None:
            kept.unlink(missing_ok=True)
        _print_epochs(document, people(json))

    return command


for _name, _summary in SUMMARIES.items():
    train.command(name=_name, help=_summary)(trainer_command(_name))
train.command()(reproduce)
train.command()(compare)


@train.command(name="list")
def list_rows(*, json: options.JsonFile = None) -> None:
    """List trainers with their options, nets, optimisers, schedules, selections."""
    document = import_module(WORK).rows()
    write_json(document, json)
    if json != STDOUT:
        _print_rows(document, people(json))


def _beside(out: Path | None, ending: str) -> Path | None:
    return None if out is None else out.with_name(out.name + ending)


def _check_kept(kept: Path | None, *, resume: bool) -> None:
    """Refuse to overwrite the epochs of a training that was ended."""
    if kept is None and resume:
        raise UsageError(
            "no checkpoint is named to go on behind",
            remedy="Give --out or --checkpoint as the training that was ended had it.",
        )
    if kept is not None and kept.exists() and not resume:
        raise UsageError(
            f"{kept} holds the epochs of a training that was ended",
            remedy="Add --resume to go on behind them, or remove the file.",
        )


def _trained(request: TrainingRequest) -> dict[str, Any]:
    """The record of the training; a checkpoint is named where somebody ends it."""
    try:
        with progress_display() as listener:
            document: dict[str, Any] = import_module(WORK).run(request, listener)
    except KeyboardInterrupt:
        if request.checkpoint is not None and request.checkpoint.is_file():
            sys.stderr.write(
                f"{request.checkpoint} holds the finished epochs; the same command "
                "with --resume goes on behind them\n"
            )
        raise
    return document


def _print_epochs(document: Mapping[str, Any], console: Console) -> None:
    columns = ("loss", "accuracy", "penalty", "weight", "validation", "seconds")
    table = Table("epoch", *columns, box=None, pad_edge=False)
    for line in document["epochs"]:
        mark = " *" if line["number"] == document["best"] else ""
        table.add_row(
            f"{line['number'] + 1}{mark}",
            *("-" if line[name] is None else f"{line[name]:.4g}" for name in columns),
        )
    console.print(table)
    model = document["model"]
    console.print(f"* kept ({document['selection']}): {model['parameters']} parameters")
    if model["file"] is not None:
        console.print(f"wrote {model['file']} ({model['format']})")


def _print_rows(document: Mapping[str, Any], console: Console) -> None:
    console.print("trainers")
    for name, row in document["trainers"].items():
        console.print(f"  {name}: {row['summary']}")
        for option, default in row["options"].items():
            said = "none" if default is None else default
            console.print(f"      --set {option}={said}")
    console.print("nets")
    for name, summary in document["nets"].items():
        console.print(f"  {name}: {summary}")
    for kind in ("optimisers", "schedules", "selections"):
        console.print(f"{kind}: {', '.join(document[kind])}")
