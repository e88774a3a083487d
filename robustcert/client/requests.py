"""What the client is given, as requests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

from pydantic import ValidationError

from robustcert.client.wire import EvaluationRequest, EvaluationStatus
from robustcert.errors import SamplesError, UsageError
from robustcert.results.effort import Effort, Tier
from robustcert.results.options import Options
from robustcert.results.plain_text import plain_text
from robustcert.results.smoothing import DRAWS


def evaluation_request(
    model: str,
    samples: str,
    norm: str,
    epsilons: Sequence[float],
    **options: Unpack[Options],
) -> EvaluationRequest:
    """The request to evaluate an uploaded model on a sample set.

    Args:
        model: id of the model.
        samples: id of the sample set, or a built-in set's name.
        norm: ``l2`` or ``linf``.
        epsilons: radii, in input units.
        options: see :class:`~robustcert.results.options.Options`.

    Raises:
        UsageError: a value is not allowed.
    """
    body: dict[str, Any] = {
        "model": model,
        "samples": {
            "id": samples,
            "count": options.get("count"),
            "seed": options.get("seed", 0),
        },
        "threat_model": {
            "norm": norm,
            "epsilons": list(epsilons),
            "box": options.get("box", (0.0, 1.0)),
        },
        "budget": {
            "seconds": options.get("seconds"),
            "memory_mb": options.get("memory_mb"),
            "attack_seconds": options.get("attack_seconds"),
            "attack_queries": options.get("attack_queries"),
            "certify_seconds": options.get("certify_seconds"),
        },
        "tier": options.get("tier", Tier.STANDARD),
        "effort": options.get("effort", Effort.FAST),
        "attacks": list(options.get("attacks", ())),
        "certifiers": list(options.get("certifiers", ())),
        "input_shape": options.get("input_shape"),
        "smoothing": _smoothing(options),
    }
    try:
        return EvaluationRequest.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise UsageError(f"{where}: {first['msg']}") from error


def _smoothing(options: Options) -> dict[str, Any] | None:
    sigma = options.get("smooth_sigma")
    if sigma is None:
        return None
    return {"sigma": sigma, "n": options.get("smooth_draws", DRAWS)}


def file_bytes(source: str | Path | bytes, name: str) -> tuple[bytes, str]:
    """The bytes of a file or of memory, and a name to show.

    Raises:
        OSError: the file cannot be read.
    """
    if isinstance(source, bytes):
        return source, name
    path = Path(source)
    return path.read_bytes(), name or plain_text(path.name, 120)


def is_file(source: str | Path | bytes) -> bool:
    """Whether ``source`` has to be uploaded, rather than being an id.

    Raises:
        SamplesError: it is meant as a file, and there is no such file.
    """
    if isinstance(source, bytes) or Path(source).is_file():
        return True
    if isinstance(source, Path) or source.endswith(".npz"):
        raise SamplesError(f"there is no file {str(source)!r}")
    return False


def unwatched(_: EvaluationStatus) -> None:
    """The listener that listens to nothing."""
