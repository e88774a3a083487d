"""Judge a model that answers the same input differently each time.

One success says that one draw failed. An example counts here if the model is wrong on
it in most of several draws, and the robust accuracy is scored anew in every draw.

Reference:
    Athalye et al. Synthesizing Robust Adversarial Examples. ICML 2018. (Expectation
        over transformation, which finds examples that survive most draws.)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from robustcert.attacks.verify import judged_margins
from robustcert.models.interface import LoadedModel
from robustcert.results.numbers import percent_down, percent_up
from robustcert.results.report import Finding, Level
from robustcert.results.rescoring import Rescoring

RESCORINGS = 10
"""Draws behind every statement about a random model."""


def steady(
    model: LoadedModel, inputs: Tensor, labels: Tensor, draws: int = RESCORINGS
) -> Tensor:
    """``(N,)`` bool: wrong in more than half of the draws, each input on its own.

    Args:
        model: the random model.
        inputs: ``(N, *shape)`` adversarial examples as stored.
        labels: ``(N,)`` int64.
        draws: at least 5.
    """
    wrong = torch.stack([~_right(model, inputs, labels) for _ in range(draws)])
    return 2 * wrong.sum(dim=0) > draws


def rescored(
    model: LoadedModel,
    inputs: Tensor,
    labels: Tensor,
    adversarial: Mapping[int, Tensor],
    draws: int = RESCORINGS,
) -> Rescoring:
    """Who withstands, once a draw: right on the sample and on its adversarial example.

    Args:
        model: the random model.
        inputs: ``(N, *shape)`` the samples, N >= 1.
        labels: ``(N,)`` int64.
        adversarial: ``(*shape)`` by position, where an example was found.
        draws: at least 5.
    """
    rows = torch.tensor(list(adversarial), dtype=torch.int64, device=inputs.device)
    counts = []
    for _ in range(draws):
        right = _right(model, inputs, labels)
        if len(rows):
            found = torch.stack(list(adversarial.values()))
            right[rows] &= _right(model, found, labels[rows])
        counts.append(int(right.sum()))
    return Rescoring(tuple(counts), len(inputs))


def random_accuracy(rescoring: Rescoring) -> Finding:
    """``random-accuracy``: the robust accuracy at the largest epsilon, an interval."""
    low, high = rescoring.robust
    below, above = rescoring.interval
    return Finding(
        "random-accuracy",
        Level.WARNING,
        f"Over {len(rescoring.standing)} re-scorings the robust accuracy at the "
        f"largest epsilon lies between {percent_down(low)} and {percent_up(high)}; for "
        f"the distribution behind the samples, between {percent_down(below)} and "
        f"{percent_up(above)} (95 %).",
        "Read the interval, not the number; export the model without its randomness.",
    )


def _right(model: LoadedModel, inputs: Tensor, labels: Tensor) -> Tensor:
    """``(N,)`` bool in one draw, each input on its own; NaN is wrong."""
    alone = (
        judged_margins(model, inputs[[row]], labels[[row]])
        for row in range(len(inputs))
    )
    return torch.cat([*alone, torch.zeros(0, device=labels.device)]) > 0.0
