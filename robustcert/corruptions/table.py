"""The use of corruptions: how accurate a model stays on corrupted samples."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import torch
from torch import Tensor

from robustcert.corruptions.interface import SEVERITIES, Corruption
from robustcert.corruptions.registry import CORRUPTIONS, corruption_named
from robustcert.errors import UsageError
from robustcert.models.interface import LoadedModel
from robustcert.models.samples import Samples, check_fit
from robustcert.results.corruption import (
    CorruptionCell,
    CorruptionTable,
    RefusedCorruption,
)
from robustcert.results.progress import Listener, Progress, unheard
from robustcert.results.threat_model import Box
from robustcert.tensors import margins

CHUNK = 256
"""Samples corrupted and judged at once; what a seed draws depends on it."""


def corruption_table(
    model: LoadedModel,
    samples: Samples,
    box: Box,
    names: Sequence[str] = (),
    *,
    seed: int = 0,
    listener: Listener = unheard,
) -> CorruptionTable:
    """Accuracy by corruption and severity.

    A sample counts as right if its label's logit is above every other one; an output
    that is not finite is wrong.

    Args:
        model: the model.
        samples: in ``box``, labels within the model's classes.
        box: the valid input range.
        names: from the registry; none means all that apply to the input's shape.
        seed: of the noise, at least 0; the same seed gives the same table.
        listener: told after each cell.

    Raises:
        UnknownNameError: a name is not in the registry.
        UsageError: no corruption applies.
        UnreadableInputError: samples and model do not fit.
    """
    check_fit(samples, model, box)
    asked = [corruption_named(name) for name in dict.fromkeys(names or CORRUPTIONS)]
    reasons = {row.name: row.refusal(model.input_shape) for row in asked}
    able = [row for row in asked if reasons[row.name] is None]
    if not able:
        raise UsageError(
            f"no corruption applies to inputs of shape {model.input_shape}",
            remedy="Ask for noise, which every input can have.",
        )
    clean = _right(model, samples.inputs, samples.labels)
    cells: list[CorruptionCell] = []
    total = len(able) * len(SEVERITIES)
    for row in able:
        for severity in SEVERITIES:
            cells.append(_cell(model, samples, box, row, severity, seed))
            note = f"{row.name} {severity}: {cells[-1].accuracy:.3f}"
            listener(Progress("corruptions", len(cells), total, note))
    refused = tuple(
        RefusedCorruption(name, reason) for name, reason in reasons.items() if reason
    )
    return CorruptionTable(clean, len(samples), tuple(cells), refused)


def _cell(
    model: LoadedModel,
    samples: Samples,
    box: Box,
    corruption: Corruption,
    severity: int,
    seed: int,
) -> CorruptionCell:
    generator = torch.Generator().manual_seed(
        zlib.crc32(f"{seed}:{corruption.name}:{severity}".encode())
    )
    right = 0
    for inputs, labels in _chunks(samples):
        corrupted = corruption.apply(inputs, severity, box, generator)
        right += _right(model, corrupted, labels)
    strength = corruption.strengths[severity - 1]
    return CorruptionCell(corruption.name, severity, strength, right, len(samples))


def _chunks(samples: Samples) -> zip[tuple[Tensor, Tensor]]:
    return zip(
        torch.split(samples.inputs, CHUNK),
        torch.split(samples.labels, CHUNK),
        strict=True,
    )


def _right(model: LoadedModel, inputs: Tensor, labels: Tensor) -> int:
    right = 0
    with torch.no_grad():
        for x, y in zip(
            torch.split(inputs, CHUNK), torch.split(labels, CHUNK), strict=True
        ):
            logits = model.logits(x).double().cpu()
            finite = logits.isfinite().all(dim=1)
            right += int((finite & (margins(logits, y) > 0.0)).sum())
    return right
