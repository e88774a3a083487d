"""``robustcert corruptions``: accuracy on noisy, blurred and compressed samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from robustcert.cli import options
from robustcert.cli.local import run_locally
from robustcert.cli.output import people, write_json
from robustcert.results.threat_model import Box

Names = Annotated[
    list[str] | None,
    typer.Option(
        "--corruption", metavar="NAME", help="Corruption to apply; all if left out."
    ),
]


def corruptions(
    model: options.Model,
    *,
    samples: options.SamplesName,
    count: options.Count = None,
    corruption: Names = None,
    seed: options.Seed = 0,
    box: options.BoxEnds = options.UNIT_ENDS,
    input_shape: options.InputShape = None,
    json: options.JsonFile = None,
    trust_model: options.TrustModel = False,
    seconds: options.Seconds = options.LONGEST,
    memory_mb: options.MemoryMb = options.LARGEST_MB,
) -> None:
    """Measure accuracy under common corruptions, at five severities each."""
    shape = options.shape_from_words(input_shape)
    ends = Box(*box)
    request = {
        "model": model,
        "samples": samples,
        "count": count,
        "corruptions": corruption or [],
        "seed": seed,
        "box": [ends.low, ends.high],
        "input_shape": None if shape is None else [*shape],
    }
    budget = options.Budget(seconds, memory_mb, trust_model)
    document = run_locally("corruptions", request, budget)
    write_json(document, json)
    _print_table(document, people(json))


def _print_table(document: Mapping[str, Any], console: Console) -> None:
    accuracy, samples = document["accuracy"], document["samples"]
    console.print(
        f"clean accuracy {accuracy['clean']:.4f} "
        f"on {samples['count']} samples of {samples['name']}"
    )
    low, high = accuracy["mean_corruption_interval"]
    console.print(
        f"mean corruption accuracy {accuracy['mean_corruption']:.4f} "
        f"(95 % interval {low:.4f} to {high:.4f})"
    )
    table = Table("corruption", *"12345", "mean", box=None, pad_edge=False)
    for name, mean in accuracy["by_corruption"].items():
        own = [cell for cell in accuracy["cells"] if cell["corruption"] == name]
        table.add_row(name, *(f"{cell['accuracy']:.4f}" for cell in own), f"{mean:.4f}")
    console.print(table)
    for gap in document["refused"]:
        console.print(f"note: {gap['corruption']} was left out: {gap['reason']}")
