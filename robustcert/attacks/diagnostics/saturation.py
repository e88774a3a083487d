"""Is the model so sure that its probabilities are one-hot to rounding?"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from robustcert.models.interface import LoadedModel
from robustcert.results.report import Finding, Level, OutputKind


def saturation_findings(model: LoadedModel, inputs: Tensor) -> Iterator[Finding]:
    """``saturated-output``: probabilities of which only a one is left."""
    count = int(_one_hot(model, inputs).sum())
    if count:
        yield Finding(
            "saturated-output",
            Level.WARNING,
            f"The model returns {model.output.value.replace('_', '-')} that are one "
            f"class alone, up to rounding, on {count} of the first {len(inputs)} "
            "samples; what gradient attacks climb is lost there.",
            "Export the model without its final softmax.",
        )


def _one_hot(model: LoadedModel, inputs: Tensor) -> Tensor:
    """``(N,)`` bool; all false for logits, which do not saturate."""
    if model.output not in (OutputKind.PROBABILITIES, OutputKind.LOG_PROBABILITIES):
        return torch.zeros(len(inputs), dtype=torch.bool, device=inputs.device)
    with torch.no_grad():
        raw = model.function(inputs.to(device=model.device, dtype=model.dtype))
    largest = raw.double().amax(dim=1)
    if model.output is OutputKind.LOG_PROBABILITIES:
        largest = largest.exp()
    return 1.0 - largest <= torch.finfo(raw.dtype).eps
