"""What a model's scores are: logits, probabilities, or one logit."""

from __future__ import annotations

import torch
from torch import Tensor

from robustcert.errors import ModelLoadError
from robustcert.results.report import OutputKind

TOLERANCE = 1e-3
"""Slack of a row's sum, wide enough for half precision."""


def output_kind(outputs: Tensor) -> OutputKind:
    """The kind of ``outputs``, ``(N,)`` or ``(N, K)``, judged by its values.

    Rows of numbers in [0, 1] that each sum to 1 are probabilities; rows whose
    exponentials sum to 1 are log-probabilities.

    Raises:
        ModelLoadError: the scores say nothing, because there are none.
    """
    if outputs.numel() == 0:
        raise ModelLoadError("the model returns no scores")
    if outputs.ndim == 1 or outputs.shape[1] == 1:
        return OutputKind.SINGLE_LOGIT
    rows = outputs.double()
    if _sums_to_one(rows) and bool((rows >= 0.0).all()):
        return OutputKind.PROBABILITIES
    if bool((rows <= TOLERANCE).all()) and _sums_to_one(rows.exp()):
        return OutputKind.LOG_PROBABILITIES
    return OutputKind.LOGITS


def class_count(outputs: Tensor, kind: OutputKind) -> int:
    """Number of classes; a single logit makes two."""
    return 2 if kind is OutputKind.SINGLE_LOGIT else int(outputs.shape[1])


def _sums_to_one(rows: Tensor) -> bool:
    return bool(
        torch.isclose(
            rows.sum(dim=1), torch.ones((), dtype=rows.dtype), atol=TOLERANCE
        ).all()
    )
