"""``robustcert lipschitz``: the bracket of a model's Lipschitz constant."""

from __future__ import annotations

from robustcert.cli import options
from robustcert.cli.local import run_locally
from robustcert.cli.output import people, write_json
from robustcert.cli.summary import print_summary
from robustcert.results.effort import Effort
from robustcert.results.norm import norm_from_word


def lipschitz(
    model: options.Model,
    *,
    norm: options.NormWord = "l2",
    effort: options.EffortOption = Effort.FAST,
    seed: options.Seed = 0,
    box: options.BoxEnds = options.UNIT_ENDS,
    input_shape: options.InputShape = None,
    json: options.JsonFile = None,
    trust_model: options.TrustModel = False,
    seconds: options.Seconds = options.LONGEST,
    memory_mb: options.MemoryMb = options.LARGEST_MB,
) -> None:
    """Bracket a model's Lipschitz constant, without samples."""
    shape = options.shape_from_words(input_shape)
    request = {
        "model": model,
        "input_shape": None if shape is None else [*shape],
        "norm": norm_from_word(norm).word,
        "effort": effort.value,
        "seed": seed,
        "box": [*box],
    }
    budget = options.Budget(seconds, memory_mb, trust_model)
    document = run_locally("lipschitz", request, budget)
    write_json(document, json)
    print_summary(document, people(json))
