"""``robustcert monotonicity``: a model as a step of an iteration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from robustcert.cli import options
from robustcert.cli.local import run_locally
from robustcert.cli.output import people, write_json
from robustcert.cli.summary import print_bracket
from robustcert.results.effort import Effort
from robustcert.results.numbers import number_down, number_up


def monotonicity(
    model: options.Model,
    *,
    effort: options.EffortOption = Effort.FAST,
    seed: options.Seed = 0,
    box: options.BoxEnds = options.UNIT_ENDS,
    input_shape: options.InputShape = None,
    json: options.JsonFile = None,
    trust_model: options.TrustModel = False,
    seconds: options.Seconds = options.LONGEST,
    memory_mb: options.MemoryMb = options.LARGEST_MB,
) -> None:
    """Bracket how monotone a map from a space to itself is, and how far from identity.

    Both constants are in L2: the Lipschitz constant of x - F(x), and the largest c with
    <F(x) - F(y), x - y> >= c |x - y|^2.
    """
    shape = options.shape_from_words(input_shape)
    request = {
        "model": model,
        "input_shape": None if shape is None else [*shape],
        "effort": effort.value,
        "seed": seed,
        "box": [*box],
    }
    budget = options.Budget(seconds, memory_mb, trust_model)
    document = run_locally("monotonicity", request, budget)
    write_json(document, json)
    _print(document, people(json))


def _print(document: Mapping[str, Any], console: Console) -> None:
    print_bracket(document["displacement"], console, "Lipschitz constant of x - F(x)")
    found = document["monotonicity"]
    least = "?" if found["at_least"] is None else number_down(found["at_least"])
    most = number_up(found["at_most"]["value"])
    console.print(f"monotonicity constant: {least} <= c <= {most}")
