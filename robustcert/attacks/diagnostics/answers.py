"""Does the same input get the same answer: twice, and alone as well as in a batch?"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from robustcert.attacks.verify import judged_margins
from robustcert.models.interface import LoadedModel
from robustcert.results.report import Finding, Level

ROUNDING = 1e-3
"""Differences between margins below this share of the largest margin are rounding:
float32 sums in another order agree to 1e-5, float16 to 1e-3."""


def random_findings(
    model: LoadedModel, inputs: Tensor, labels: Tensor
) -> Iterator[Finding]:
    """``random-output``: the same batch, asked twice, is answered differently."""
    first = judged_margins(model, inputs, labels)
    second = judged_margins(model, inputs, labels)
    if _differ(first, second):
        yield Finding(
            "random-output",
            Level.ERROR,
            "The model answers the same input differently each time, so an adversarial "
            "example verified once proves little.",
            "Export the model in eval mode, without dropout or noise.",
        )


def batch_findings(
    model: LoadedModel, inputs: Tensor, labels: Tensor
) -> Iterator[Finding]:
    """``batch-interaction``: an input is answered by the company it is in."""
    together = judged_margins(model, inputs, labels)
    alone = torch.cat(
        [judged_margins(model, inputs[[i]], labels[[i]]) for i in range(len(inputs))]
    )
    if _differ(together, alone):
        yield Finding(
            "batch-interaction",
            Level.WARNING,
            "The model answers an input differently in a batch and alone; attacks "
            "search in batches, while examples count as judged alone.",
            "Export the model in eval mode, with batch statistics frozen.",
        )


def _differ(first: Tensor, second: Tensor) -> bool:
    scale = float(first.abs().max())
    return bool(((first - second).abs() > ROUNDING * scale).any())
