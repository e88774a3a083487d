"""``robustcert lipschitz``: the bracket of a model's Lipschitz constant."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from robustcert.cli import options
from robustcert.cli.local import find_locally
from robustcert.cli.output import people, write_json, write_text
from robustcert.cli.summary import print_summary
from robustcert.errors import UsageError
from robustcert.results.document import canonical_json
from robustcert.results.effort import Effort
from robustcert.results.norm import norm_from_word

CertificateFile = Annotated[
    Path | None,
    typer.Option(
        "--certificate",
        metavar="FILE",
        help="Write the best upper bound's certificate, for `robustcert verify`.",
    ),
]


def lipschitz(
    model: options.Model,
    *,
    norm: options.NormWord = "l2",
    effort: options.EffortOption = Effort.FAST,
    seed: options.Seed = 0,
    box: options.BoxEnds = options.UNIT_ENDS,
    input_shape: options.InputShape = None,
    certificate: CertificateFile = None,
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
    found = find_locally("lipschitz", request, budget)
    console = people(json)
    write_json(found["document"], json)
    print_summary(found["document"], console)
    if certificate is not None:
        proof = _required(found["certificate"])
        write_text(certificate, canonical_json(proof))
        console.print(f"certificate: {certificate} proves L <= {proof['value']:.6g}")


def _required(proof: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if proof is None:
        raise UsageError(
            "no method emitted a certificate of this model",
            remedy="Ask for the norm l2; the summary says which layers were refused.",
        )
    return proof
