"""``robustcert smooth``: certified radii of the model's smoothed twin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from robustcert.cli import options
from robustcert.cli.local import run_locally
from robustcert.cli.output import people, write_json
from robustcert.results.numbers import (
    exact,
    number_down,
    number_up,
    percent,
    percent_down,
    whole,
)
from robustcert.results.smoothing import SmoothingPlan
from robustcert.results.threat_model import Box

Sigma = Annotated[
    float,
    typer.Option(
        "--sigma", metavar="S", help="Noise: standard deviation, input units."
    ),
]
Selection = Annotated[
    int, typer.Option("--n0", metavar="N0", help="Draws that choose the class.")
]
Draws = Annotated[
    int, typer.Option("--n", metavar="N", help="Draws that count how often it wins.")
]
Alpha = Annotated[
    float,
    typer.Option("--alpha", metavar="A", help="Failure probability of one radius."),
]
Epsilons = Annotated[
    list[float] | None,
    typer.Option(
        "--epsilon",
        metavar="E",
        help="L2 radius to state accuracy at; may be repeated. Every half sigma if "
        "left out.",
    ),
]


def smooth(
    model: options.Model,
    *,
    samples: options.SamplesName,
    sigma: Sigma,
    selection: Selection = 100,
    draws: Draws = 10_000,
    alpha: Alpha = 0.001,
    epsilon: Epsilons = None,
    count: options.Count = None,
    seed: options.Seed = 0,
    box: options.BoxEnds = options.UNIT_ENDS,
    input_shape: options.InputShape = None,
    json: options.JsonFile = None,
    trust_model: options.TrustModel = False,
    seconds: options.Seconds = options.LONGEST,
    memory_mb: options.MemoryMb = options.LARGEST_MB,
) -> None:
    """Certify the model that votes under Gaussian noise; not the model itself."""
    plan = SmoothingPlan(sigma, selection, draws, alpha, seed)
    shape = options.shape_from_words(input_shape)
    ends = Box(*box)
    request = {
        "model": model,
        "samples": samples,
        "count": count,
        "sigma": plan.sigma,
        "n0": plan.selection,
        "n": plan.draws,
        "alpha": plan.alpha,
        "seed": plan.seed,
        "epsilons": epsilon or [],
        "box": [ends.low, ends.high],
        "input_shape": None if shape is None else [*shape],
    }
    budget = options.Budget(seconds, memory_mb, trust_model)
    document = run_locally("smooth", request, budget)
    write_json(document, json)
    _print_table(document, people(json))


def _print_table(document: Mapping[str, Any], console: Console) -> None:
    plan, failing = document["smoothing"], document["failure_probability"]
    samples, accuracy = document["samples"], document["accuracy"]
    console.print(
        f"smoothed model, sigma {exact(plan['sigma'])}: {samples['count']} samples of "
        f"{samples['name']}, {whole(plan['n'])} draws each"
    )
    console.print(f"abstains on {percent(accuracy['abstained'])}")
    table = Table("L2 epsilon", "certified", "95 % interval", box=None, pad_edge=False)
    for point in accuracy["certified"]:
        low, high = point["interval"]
        table.add_row(
            exact(point["epsilon"]),
            percent_down(point["accuracy"]),
            f"{low:.4f} to {high:.4f}",
        )
    console.print(table)
    console.print(
        f"largest radius that so many draws can show: "
        f"{number_down(plan['largest_radius'])}"
    )
    console.print(
        f"a radius is wrong with probability {exact(failing['sample'])} at most, "
        f"any of them with {number_up(failing['table'])}"
    )
    for sentence in document["about"]:
        console.print(f"note: {sentence}")
