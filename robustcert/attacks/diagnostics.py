"""Is the evaluation itself sound? Signs of attacks that fail for their own reasons.

Reference:
    Carlini et al. On Evaluating Adversarial Robustness. 2019; Pintor et al. Indicators
    of Attack Failure. NeurIPS 2022.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from robustcert.attacks.ensemble import STRONG
from robustcert.attacks.verify import judged_margins
from robustcert.errors import UnsoundModelError
from robustcert.models.interface import LoadedModel
from robustcert.results.attack import AttackRun
from robustcert.results.interval import share_interval
from robustcert.results.report import Finding, Level
from robustcert.tensors import margins

PROBES = 32
"""Samples on which the model itself is examined."""

FEW_SAMPLES = 100
"""Below this many samples a share's 95 % interval is wider than .2 in the middle."""

_TOLERANCE = 1e-3
"""Differences between margins below this share of the largest margin are rounding:
float32 sums in another order agree to 1e-5, float16 to 1e-3."""


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
    model: LoadedModel, inputs: Tensor, labels: Tensor
) -> Iterator[Finding]:
    """What the model does on up to :data:`PROBES` samples that attacks rely on.

    Args:
        model: the model.
        inputs: ``(N, *shape)``, N >= 1.
        labels: ``(N,)`` int64.
    """
    inputs, labels = inputs[:PROBES], labels[:PROBES]
    together = judged_margins(model, inputs, labels)
    again = judged_margins(model, inputs, labels)
    if _differ(together, again):
        yield Finding(
            "random-output",
            Level.ERROR,
            "The model answers the same input differently each time, so an adversarial "
            "example verified once proves little.",
            "Export the model in eval mode, without dropout or noise.",
        )
        return
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
    yield from _gradient_findings(model, inputs, labels)


def _differ(first: Tensor, second: Tensor) -> bool:
    scale = float(first.abs().max())
    return bool(((first - second).abs() > _TOLERANCE * scale).any())


def _gradient_findings(
    model: LoadedModel, inputs: Tensor, labels: Tensor
) -> Iterator[Finding]:
    gradients = margin_gradients(model, inputs, labels).flatten(1)
    dead = int((~(gradients.abs().sum(dim=1) > 0.0)).sum())
    if dead:
        yield Finding(
            "zero-gradients",
            Level.WARNING,
            f"The margin's gradient is zero or not finite at {dead} of the first "
            f"{len(gradients)} samples; gradient attacks are blind there.",
            "Trust gradient-free attacks and certificates; evaluate the model without "
            "its quantisation or saturation as well.",
        )


def margin_gradients(model: LoadedModel, inputs: Tensor, labels: Tensor) -> Tensor:
    """``(N, *shape)`` gradients of the margins; 0 where the output has no graph."""
    with torch.enable_grad():
        leaf = inputs.to(model.dtype).detach().clone().requires_grad_()
        total = margins(model.logits(leaf), labels).sum()
        if not total.requires_grad:
            return torch.zeros_like(leaf)
        (gradients,) = torch.autograd.grad(total, leaf, materialize_grads=True)
    return gradients


def run_findings(runs: Sequence[AttackRun], samples: int) -> Iterator[Finding]:
    """What the attacks' own figures say, in the order in which they ran."""
    if not any(run.name in STRONG for run in runs):
        yield Finding(
            "weak-attacks",
            Level.WARNING,
            "Robust accuracy rests on a weak attack: "
            + ", ".join(run.name for run in runs)
            + ".",
            "Run the standard or thorough tier before drawing a conclusion.",
        )
    for run in runs:
        if run.unverified:
            yield Finding(
                "unverified-claims",
                Level.WARNING,
                f"{run.name} claimed {run.unverified} adversarial examples that "
                "verification threw out; they do not count.",
                "None is needed; look for batch interaction where there are many.",
            )
    yield from _masking_findings(runs)
    if samples < FEW_SAMPLES:
        low, high = share_interval(samples // 2, samples)
        yield Finding(
            "few-samples",
            Level.NOTE,
            f"{samples} samples say little about others: a share near one half is "
            f"known to lie between {low:.2f} and {high:.2f} only (95 %).",
            f"Evaluate {FEW_SAMPLES} samples or more.",
        )


def _masking_findings(runs: Sequence[AttackRun]) -> Iterator[Finding]:
    """Gradient-free attacks that broke what gradient attacks had left."""
    after_gradients = False
    for run in runs:
        if run.backward_queries:
            after_gradients = True
        elif after_gradients and run.broken:
            yield Finding(
                "gradient-masking",
                Level.WARNING,
                f"{run.name} uses no gradients and broke {run.broken} samples that "
                "withstood every gradient attack before it: gradients mislead here.",
                "Run the thorough tier and rely on certificates; the robust accuracy "
                "is likely too high.",
            )


def refused(name: str, reason: str) -> Finding:
    """An attack did not run."""
    return Finding(
        "attack-refused",
        Level.NOTE,
        f"{name} did not run: {reason}.",
        "None is needed where other attacks ran.",
    )


def non_finite(count: int) -> Iterator[Finding]:
    """Perturbed inputs at which the model's output is not a number."""
    if count:
        yield Finding(
            "non-finite-output",
            Level.WARNING,
            f"The model returned NaN or infinity on {count} perturbed inputs; they "
            "are not counted as adversarial examples.",
            "Find out what overflows; such inputs are failures of their own.",
        )
