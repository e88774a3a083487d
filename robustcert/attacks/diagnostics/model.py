"""What a model does on a few samples that every attack relies on."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from robustcert.attacks.diagnostics.answers import batch_findings, random_findings
from robustcert.attacks.diagnostics.climbing import climbing_findings
from robustcert.attacks.diagnostics.flatness import flatness_findings
from robustcert.attacks.diagnostics.gradients import (
    differentiable,
    gradient_findings,
    vanishing_findings,
)
from robustcert.attacks.diagnostics.saturation import saturation_findings
from robustcert.attacks.interface import Target
from robustcert.attacks.verify import judged_margins
from robustcert.errors import UnsoundModelError
from robustcert.models.interface import LoadedModel
from robustcert.results.report import Finding
from robustcert.results.threat_model import ThreatModel

PROBES = 32
"""Samples on which the model itself is examined."""


def clean_margins(model: LoadedModel, inputs: Tensor, labels: Tensor) -> Tensor:
    """``(N,)`` float64 margins of the samples themselves.

    Raises:
        UnsoundModelError: a logit of a sample is NaN or infinite.
    """
    parts = zip(torch.split(inputs, PROBES), torch.split(labels, PROBES), strict=True)
    gaps = torch.cat([judged_margins(model, x, y) for x, y in parts])
    broken = gaps.isnan().nonzero().flatten()
    if len(broken):
        raise UnsoundModelError(
            f"the model returns NaN or infinity on {len(broken)} of {len(gaps)} "
            f"samples, first on sample {int(broken[0])}"
        )
    return gaps


def model_findings(
    model: LoadedModel,
    inputs: Tensor,
    labels: Tensor,
    threat: ThreatModel | None = None,
    seed: int = 0,
) -> Iterator[Finding]:
    """What the model does on up to :data:`PROBES` samples that attacks rely on.

    Args:
        model: the model.
        inputs: ``(N, *shape)``, N >= 1.
        labels: ``(N,)`` int64.
        threat: what the attacks will be given. Without it, or at epsilon 0, nothing is
            asked about the scale of epsilon.
        seed: of the directions that are tried.
    """
    inputs, labels = inputs[:PROBES], labels[:PROBES]
    model = differentiable(model, inputs, labels)
    random = list(random_findings(model, inputs, labels))
    if random:
        yield from random
        return
    yield from batch_findings(model, inputs, labels)
    yield from saturation_findings(model, inputs)
    yield from gradient_findings(model, inputs, labels)
    if threat is None or threat.epsilon == 0.0 or threat.box.width == 0.0:
        return
    target = Target(model, inputs, labels, threat, seed)
    yield from vanishing_findings(target)
    yield from flatness_findings(target)
    yield from climbing_findings(target)
