"""``robustcert verify``: whether a certificate proves what it claims about a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustcert.cli import options
from robustcert.cli.local import run_locally
from robustcert.cli.output import people, write_json
from robustcert.errors import DocumentError
from robustcert.results.lipschitz_certificate_document import (
    certificate_document,
    certificate_from_json,
)
from robustcert.results.numbers import number_up

Certificate = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="Certificate of a Lipschitz bound, JSON."),
]
Subject = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="Model that it is about: a file, or a built-in model's name.",
    ),
]

_DIGITS = 8


def verify(
    certificate: Certificate,
    *,
    model: Subject,
    json: options.JsonFile = None,
    trust_model: options.TrustModel = False,
    seconds: options.Seconds = options.LONGEST,
    memory_mb: options.MemoryMb = options.LARGEST_MB,
) -> None:
    """Prove a Lipschitz certificate again, independently; exits with 1 if it fails."""
    claimed = certificate_from_json(_text(certificate))
    request = {"model": model, "certificate": certificate_document(claimed)}
    budget = options.Budget(seconds, memory_mb, trust_model)
    document = run_locally("verify", request, budget)
    write_json(document, json)
    bound = number_up(document["value"], _DIGITS)
    people(json).print(f"verified: L <= {bound} ({document['norm']}, everywhere)")


def _text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DocumentError(
            f"the certificate {str(path)!r} cannot be read: {error.strerror}",
            remedy="Give the file that `robustcert lipschitz` wrote.",
        ) from error
